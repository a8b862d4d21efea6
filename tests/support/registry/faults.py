"""What can go wrong between a client and a registry; each function makes a fault for ``FakeRegistry.fail``.

Either the request never gets to the registry's state (:func:`status`, :func:`dropped`), or it does and the
answer is lost or changed (:func:`answer_lost`, :func:`truncated`): to a client that may look the same.
"""

from __future__ import annotations

import gzip
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

from tests.support.registry.contents import Refused, digest_of
from tests.support.registry.routes import error
from tests.support.registry.wire import Dropped, Exchange, Reply

if TYPE_CHECKING:
    from tests.support.registry import FakeRegistry, Fault

__all__ = [
    "absent",
    "answer_lost",
    "bare",
    "chunked",
    "compressed",
    "dropped",
    "early_status",
    "elsewhere",
    "endless",
    "forgotten",
    "half_read",
    "header",
    "longer",
    "mount_refused",
    "paused",
    "phantom",
    "redirected",
    "session_lost",
    "shorter",
    "silent",
    "slow",
    "status",
    "swapped",
    "token_expired",
    "too_busy",
    "truncated",
    "wrong_bytes",
    "wrong_digest",
    "wrong_length",
]

_CODES = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NAME_UNKNOWN", 405: "UNSUPPORTED", 429: "TOOMANYREQUESTS"}


# Refusals


def status(number: int, code: str | None = None, message: str = "not now", **headers: str) -> Fault:
    """Answer with a status and do nothing.

    Parameters:
        code: of the error in the body; None for the usual one.
    """

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        exchange.body()
        return error(number, code or _CODES.get(number, "UNKNOWN"), message, **headers)

    return fault


def bare(number: int) -> Fault:
    """Answer with a status and nothing else, and do nothing."""

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        exchange.body()
        return Reply(number)

    return fault


def early_status(number: int) -> Fault:
    """Answer with a status before the body was read, and hang up on whoever still sends it."""
    return lambda registry, exchange: error(number, _CODES.get(number, "UNKNOWN"), "enough")


def too_busy(seconds: int = 0, *, as_date: bool = False) -> Fault:
    """429 that asks to wait."""
    value = str(seconds)
    if as_date:
        value = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    return status(429, **{"Retry-After": value})


def token_expired() -> Fault:
    """No token given out so far is good from this request on."""

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        registry.access.expire()
        return exchange.handle()

    return fault


def session_lost() -> Fault:
    """The upload session that the request is about is not known any more: a registry that was restarted."""

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        exchange.body()
        registry.contents.uploads.pop(exchange.request.reference, None)
        return exchange.handle()

    return fault


def absent() -> Fault:
    """404 about something that is there."""
    return status(404, "BLOB_UNKNOWN", "unknown to registry")


def phantom(size: int | None = None) -> Fault:
    """200 for HEAD of something that is not there.

    Parameters:
        size: what it says; None for the truth if it is there, else 1 byte.
    """

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        exchange.body()
        try:
            found = registry.contents.blob(exchange.request.repository, exchange.request.reference)
        except Refused:
            found = b"?"
        headers = {"Docker-Content-Digest": exchange.request.reference}
        return Reply(200, headers, length=len(found) if size is None else size)

    return fault


def forgotten() -> Fault:
    """201 for something that is then not there: the registry took it and lost it.

    Not for a tag: that is the last word of a push, and whether it is kept nobody can tell.
    """

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        reply = exchange.handle()
        if exchange.request.kind == "put-manifest" and ":" not in exchange.request.reference:
            return reply
        held = registry.repository(exchange.request.repository)
        digest = reply.headers.get("Docker-Content-Digest", "")
        held.blobs.pop(digest, None)
        held.manifests.pop(digest, None)
        for tag in [tag for tag, tagged in held.tags.items() if tagged == digest]:
            del held.tags[tag]
        return reply

    return fault


def mount_refused() -> Fault:
    """A session to upload to instead of a blob from another repository."""

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        request = exchange.request
        kind, query, request.kind, request.query = request.kind, request.query, "start-upload", ""
        reply = exchange.handle()
        request.kind, request.query = kind, query
        return reply

    return fault


# Connections


def dropped(*, reset: bool = False) -> Fault:
    """The connection ends after the request was read; nothing was done."""

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        exchange.body()
        raise Dropped(reset=reset)

    return fault


def answer_lost(*, reset: bool = False) -> Fault:
    """The connection ends after the request was done."""

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        exchange.handle()
        raise Dropped(reset=reset)

    return fault


def half_read(*, kept: bool) -> Fault:
    """The connection ends after half of the request's body.

    Parameters:
        kept: what came of a blob is kept in its session, as a registry with a file system does.
    """

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        request, half = exchange.request, exchange.half()
        if kept and half and request.kind in ("send-chunk", "finish-upload"):
            registry.contents.append(request.repository, request.reference, half, None, 0)
        raise Dropped

    return fault


def truncated(*, at: float = 0.5) -> Fault:
    """The connection ends in the middle of the answer's body.

    Parameters:
        at: which part of the body comes through.
    """

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        reply = exchange.handle()
        assert isinstance(reply.body, bytes)
        if not reply.body or exchange.request.method == "HEAD":
            raise Dropped
        return replace(reply, cut=int(len(reply.body) * at))

    return fault


def slow(pause: float = 0.01, pieces: int = 5) -> Fault:
    """The answer takes its time, and so does every part of its body.

    Parameters:
        pause: seconds.
        pieces: in how many parts the body comes.
    """

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        reply = exchange.handle()
        assert isinstance(reply.body, bytes)
        time.sleep(pause)
        return replace(reply, pause=pause, pieces=len(reply.body) // pieces + 1)

    return fault


def paused(released: threading.Event) -> Fault:
    """The answer's body stops in the middle until somebody sets ``released``."""

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        whole = exchange.handle()
        assert isinstance(whole.body, bytes)
        body = whole.body

        def pieces() -> Iterator[bytes]:
            yield body[: len(body) // 2]
            released.wait()
            yield body[len(body) // 2 :]

        return replace(whole, body=pieces())

    return fault


def silent(seconds: float) -> Fault:
    """No answer for so long, and then a lost connection."""

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        exchange.body()
        time.sleep(seconds)
        raise Dropped

    return fault


# Answers that lie


def _changed(change: Callable[[Reply], Reply]) -> Fault:
    """Change an honest answer that has a body or names a digest; leave refusals alone."""

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        reply = exchange.handle()
        return change(reply) if reply.status < 300 else reply

    return fault


def header(name: str, value: str | None) -> Fault:
    """A header of the answer says something else, or is missing."""

    def change(reply: Reply) -> Reply:
        headers = {key: held for key, held in reply.headers.items() if key != name}
        return replace(reply, headers=headers if value is None else {**headers, name: value})

    return _changed(change)


def wrong_digest() -> Fault:
    """``Docker-Content-Digest`` is that of something else."""
    return header("Docker-Content-Digest", digest_of(b"something else"))


def wrong_bytes() -> Fault:
    """One bit of the body is another, its size and its digest's header as they should be."""

    def change(reply: Reply) -> Reply:
        assert isinstance(reply.body, bytes)
        middle = len(reply.body) // 2
        body = bytearray(reply.body)
        if body:
            body[middle] ^= 1
        return replace(reply, body=bytes(body))

    return _changed(change)


def wrong_length(difference: int) -> Fault:
    """``Content-Length`` is too large or too small by so many bytes; the connection ends with the body."""

    def change(reply: Reply) -> Reply:
        assert isinstance(reply.body, bytes)
        return replace(reply, length=max(len(reply.body) + difference, 0)) if reply.body else reply

    return _changed(change)


def longer(extra: int = 1000) -> Fault:
    """The body goes on after its end, in an answer that is well-formed."""

    def change(reply: Reply) -> Reply:
        assert isinstance(reply.body, bytes)
        return replace(reply, body=reply.body + bytes(extra)) if reply.body else reply

    return _changed(change)


def shorter() -> Fault:
    """Half of the body, in an answer that is well-formed."""

    def change(reply: Reply) -> Reply:
        assert isinstance(reply.body, bytes)
        return replace(reply, body=reply.body[: len(reply.body) // 2])

    return _changed(change)


def compressed() -> Fault:
    """The body is compressed on the way, which nobody asked for."""

    def change(reply: Reply) -> Reply:
        assert isinstance(reply.body, bytes)
        headers = {**reply.headers, "Content-Encoding": "gzip"}
        return replace(reply, headers=headers, body=gzip.compress(reply.body)) if reply.body else reply

    return _changed(change)


def chunked() -> Fault:
    """The answer does not tell its length beforehand."""
    return _changed(lambda reply: replace(reply, chunked=True) if reply.body else reply)


def swapped(data: bytes, media_type: str) -> Fault:
    """Another manifest than the one asked for, with its own digest in the header."""

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        exchange.body()
        return Reply(200, {"Content-Type": media_type, "Docker-Content-Digest": digest_of(data)}, data)

    return fault


def endless(media_type: str = "application/octet-stream") -> Fault:
    """A body without end (1 GiB, if somebody really reads it)."""

    def pieces() -> Iterator[bytes]:
        yield from itertools.repeat(b" " * (1 << 16), 1 << 14)

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        exchange.body()
        return Reply(200, {"Content-Type": media_type}, pieces())

    return fault


# Other places


def redirected(place: str, number: int = 307) -> Fault:
    """Sent to another address; ``{path}`` in it becomes the path that was asked for."""

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        exchange.body()
        return Reply(number, {"Location": place.format(path=exchange.request.target)})

    return fault


def elsewhere(place: str) -> Fault:
    """An upload session whose address is another; ``{path}`` in it becomes the honest one's."""

    def fault(registry: FakeRegistry, exchange: Exchange) -> Reply:
        reply = exchange.handle()
        if "Location" not in reply.headers:
            return reply
        path = "/" + reply.headers["Location"].partition("://")[2].partition("/")[2]
        honest = path if "://" in reply.headers["Location"] else reply.headers["Location"]
        return replace(reply, headers={**reply.headers, "Location": place.format(path=honest)})

    return fault
