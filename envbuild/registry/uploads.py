"""Bringing a blob into a registry: found there, mounted from a neighbour, or sent.

Follows "Pushing blobs" of the OCI distribution specification 1.1. Small blobs go in one request; large ones
in chunks, so that a connection that breaks costs a chunk and not the whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args
from urllib.parse import quote

from envbuild.errors import RemoteError
from envbuild.registry.refusals import Answer, lied
from envbuild.registry.retry import TRANSIENT, Patience, Transient
from envbuild.registry.transport import Call, Registry

__all__ = ["CHUNK", "OUTCOMES", "Content", "Outcome", "Upload"]

Content = Callable[[], Iterator[bytes]]
Outcome = Literal["exists", "mounted", "uploaded"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

CHUNK = 64 << 20  # bytes; proxies in front of registries often take no more than 100 MB in a request
_LARGEST_CHUNK = 1 << 30
_MOST_MOUNTS = 2
_RECEIVED = re.compile(r"(?:bytes=)?0-(\d{1,18})", re.ASCII)
_TYPE = {"Content-Type": "application/octet-stream"}


@dataclass(slots=True)
class _Session:
    """An upload that a registry has begun: where it goes on, and how many bytes the registry has.

    ``chunk`` is how many bytes go in one request; None when all of them do.
    """

    address: str
    chunk: int | None
    received: int = 0


class Upload:
    """One blob on its way into one repository.

    Parameters:
        repository: the path in ``registry``.
        content: gives the blob from its start, each time it is called; it raises at its end at the latest if
            that is not the blob.
        sent: told the number of bytes that were sent; a negative one when they have to be sent again.
    """

    def __init__(
        self,
        registry: Registry,
        repository: str,
        digest: str,
        size: int,
        content: Content,
        sent: Callable[[int], None],
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._digest = digest
        self._size = size
        self._reader = _Reader(content, digest, size)
        self._sent = sent
        self._told = 0

    def run(self, mount_from: Sequence[str], *, look: bool = True) -> Outcome:
        """Bring the blob there.

        Parameters:
            mount_from: paths in the same registry that may have it.
            look: ask first whether it is there.

        Raises:
            RemoteError: the registry does not take it.
            MachineError: the content is damaged.
        """
        patience = self._registry.patience()
        if look and patience.through(self._is_there):
            return "exists"
        session = None
        for source in [name for name in mount_from if name != self._repository][:_MOST_MOUNTS]:
            session = self._mount(source)
            if session is _MOUNTED:
                return "mounted"
        while True:
            try:
                session = session or self._start()
                self._send(session, patience)
            except Transient as trouble:
                patience.wait(trouble)
                session = self._resumed(session)
            except _NoChunksError:
                self._registry.takes_chunks = False
                session = None
            else:
                return "uploaded"
            self._tell(session.received if session else 0)

    def _is_there(self) -> bool:
        call = self._call("HEAD", f"/v2/{self._repository}/blobs/{self._digest}")
        answer = self._registry.send(call)
        if answer.status == 200:
            # One of another size is not the blob, whatever the registry calls it.
            return bool(answer.headers.get("content-length", str(self._size)) == str(self._size))
        if answer.status in (404, 405):
            return False
        raise self._registry.refusal(call, answer)

    def _mount(self, source: str) -> _Session | None:
        """Ask to have the blob from the repository ``source``; ``_MOUNTED`` when that was done.

        None when there was some trouble, which uploading will make plain if it concerns that, too.
        """
        query = f"mount={quote(self._digest, safe='')}&from={quote(source, safe='')}"
        call = self._call("POST", f"/v2/{self._repository}/blobs/uploads/?{query}", mounted=source)
        try:
            answer = self._registry.send(call)
            if answer.status == 201:
                return _MOUNTED
            return self._session(call, answer) if answer.status == 202 else None
        except (RemoteError, Transient):
            return None

    def _start(self) -> _Session:
        call = self._call("POST", f"/v2/{self._repository}/blobs/uploads/")
        answer = self._registry.send(call)
        if answer.status != 202:
            raise self._registry.refusal(call, answer)
        return self._session(call, answer)

    def _session(self, call: Call, answer: Answer) -> _Session:
        address = self._registry.location(answer, call.url)
        least = answer.headers.get("oci-chunk-min-length", "")
        chunk = max(CHUNK, int(least) if least.isascii() and least.isdecimal() else 0)
        chunked = self._size > chunk and chunk <= _LARGEST_CHUNK and self._registry.takes_chunks
        return _Session(address, chunk if chunked else None)

    def _send(self, session: _Session, patience: Patience) -> None:
        """Send what the registry has not received yet, and end the session."""
        while session.chunk is not None and session.received < self._size:
            before = session.received
            self._send_chunk(session, session.chunk)
            patience.advance(session.received - before)
        separator = "&" if "?" in session.address else "?"
        url = f"{session.address}{separator}digest={quote(self._digest, safe='')}"
        call = self._with_bytes(self._call("PUT", url), session.received, self._size)
        answer = self._registry.send(call)
        self._check_session(call, answer)
        if answer.status not in (200, 201, 204):
            raise self._registry.refusal(call, answer)
        named = answer.headers.get("docker-content-digest", self._digest)
        if named != self._digest:
            raise lied(self._registry.name, f"it took {self._digest} and calls it {named[:80]}")

    def _send_chunk(self, session: _Session, size: int) -> None:
        start, end = session.received, min(session.received + size, self._size)
        call = self._with_bytes(self._call("PATCH", session.address), start, end)
        call = replace(call, headers={**call.headers, "Content-Range": f"{start}-{end - 1}"})
        answer = self._registry.send(call)
        if answer.status not in (200, 201, 202, 204):
            self._check_session(call, answer)
            if answer.status == 416 and start:
                error = lied(self._registry.name, f"it lost bytes of {self._digest} that it had received")
                raise Transient(error)
            if answer.status in TRANSIENT or answer.status in (401, 403, 413):
                raise self._registry.refusal(call, answer)
            raise _NoChunksError
        received = _received(answer)
        if received is not None and not start <= received <= end:
            raise Transient(lied(self._registry.name, f"it received {received} bytes of {end} it was sent"))
        session.received = end if received is None else received
        session.address = self._registry.location(answer, call.url)

    def _resumed(self, session: _Session | None) -> _Session | None:
        """``session`` as the registry knows it after some trouble; None when it has to be begun again."""
        if session is None or session.chunk is None:
            return None
        call = self._call("GET", session.address)
        try:
            answer = self._registry.send(call)
            received = _received(answer)
            if answer.status not in (200, 202, 204) or received is None or received > self._size:
                return None
            address = session.address
            if "location" in answer.headers:
                address = self._registry.location(answer, call.url)
            return _Session(address, session.chunk, received)
        except (RemoteError, Transient):
            return None

    def _check_session(self, call: Call, answer: Answer) -> None:
        """Sessions get lost when a registry restarts, or is several that do not know of each other."""
        if answer.status == 404 or "BLOB_UPLOAD_UNKNOWN" in answer.codes:
            error = self._registry.refusal(call, answer)
            raise error if isinstance(error, Transient) else Transient(error)

    def _with_bytes(self, call: Call, start: int, end: int) -> Call:
        def content() -> Iterator[bytes]:
            position = start
            for piece in self._reader.part(start, end):
                self._tell(position)
                yield piece
                position += len(piece)
            self._tell(position)

        return replace(call, headers=_TYPE, content=content, size=end - start)

    def _tell(self, position: int) -> None:
        self._sent(position - self._told)
        self._told = position

    def _call(self, method: str, url: str, mounted: str = "") -> Call:
        scopes = [f"repository:{self._repository}:pull,push"]
        if mounted:
            scopes.append(f"repository:{mounted}:pull")
        what = f"{self._digest[:19]}… to {self._registry.name}/{self._repository}"
        return Call(method, url, self._repository, tuple(scopes), "push", what)


class _NoChunksError(Exception):
    """The registry does not take a blob in chunks."""


_MOUNTED = _Session("", None)


class _Reader:
    """Reads a blob part by part, from its start again only where a part does not follow the one before.

    The blob's last piece is given only after its source has confirmed that this is the blob, so a damaged
    one never arrives in full.
    """

    def __init__(self, content: Content, digest: str, size: int) -> None:
        self._content = content
        self._digest = digest
        self._size = size
        self._source: Iterator[bytes] = iter(())
        self._rest = b""
        self._position = -1

    def part(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from ``start`` (included) to ``end`` (excluded)."""
        if start != self._position:
            self._source, self._rest, self._position = self._content(), b"", 0
            for _ in self._pieces(start):
                pass
        yield from self._pieces(end)

    def _pieces(self, end: int) -> Iterator[bytes]:
        while self._position < end:
            self._rest = self._rest or self._next()
            piece = self._rest[: end - self._position]
            self._rest = self._rest[len(piece) :]
            self._position += len(piece)
            yield piece

    def _next(self) -> bytes:
        piece = next(self._source, b"")
        left = self._size - self._position - len(piece)
        if not piece or left < 0 or (left == 0 and next(self._source, None) is not None):
            raise RuntimeError(f"what should be {self._digest} has not {self._size} bytes")
        return piece


def _received(answer: Answer) -> int | None:
    """How many bytes a registry says it has; None when it does not say.

    ``0-0`` is what registries say of no byte at all: there is no way to write that.
    """
    told = _RECEIVED.fullmatch(answer.headers.get("range", "").strip())
    last = int(told[1]) if told else None
    return last + 1 if last else last
