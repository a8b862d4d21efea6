"""Every request of a conversation with a registry, hit by everything that can happen to it.

::

    conversation = recorded(push)                    # what an undisturbed push asks, in order
    for trouble in PASSING:
        wrong = hits(trouble, conversation, push)    # what came of it, where that is not what may come of it

A play (here ``push``) is called with what is to happen to its registry; it runs against a new one, looks at
what is there afterwards, and raises ``AssertionError`` about anything that must not be.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import pytest
from _pytest.mark import ParameterSet

from envbuild.errors import EnvbuildError
from tests.support.registry import FakeRegistry, Fault, digest_of, faults
from tests.support.registry.contents import MANIFEST_TYPES
from tests.support.registry.wire import Request

__all__ = ["LIES", "PASSING", "Outcome", "Play", "Trouble", "hits", "hitting", "lasting", "often", "recorded"]

_CLOSED = "127.0.0.1:1"  # nobody listens there, and nobody may without being root
_MOST_AGAIN = 6  # times the undisturbed number of requests: a client that is stuck must stop some time
_OTHER = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPES[0],
        "config": {"mediaType": "application/json", "digest": digest_of(b"{}"), "size": 2},
        "layers": [],
    }
).encode()


Outcome = tuple[EnvbuildError | None, list[Request]]


class Play(Protocol):
    """Something that talks to a registry."""

    def __call__(
        self, prepare: Callable[[FakeRegistry], object]
    ) -> tuple[EnvbuildError | None, list[Request]]:
        """Run it once, after ``prepare`` was called with the registry.

        Returns the error it ended with, and what it asked.
        """


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that can happen to a request.

    ``fits`` tells whether to a given one. A trouble that ``passes`` must not be noticed when it comes once:
    the client gets there all the same. After any other, it may also stop with an error.
    """

    name: str
    make: Callable[[], Fault]
    fits: Callable[[Request], bool]
    passes: bool = False


def _any(request: Request) -> bool:
    return True


def _sends(request: Request) -> bool:
    return request.received > 0


def _gets(request: Request) -> bool:
    return request.sent > 0


def _gets_ok(request: Request) -> bool:
    return request.sent > 0 and request.status < 300


def _is(*kinds: str) -> Callable[[Request], bool]:
    return lambda request: request.kind in kinds


def _authorized(request: Request) -> bool:
    return request.authorization is not None and request.kind != "token"


_READING = ("head-blob", "get-blob", "head-manifest", "get-manifest", "tags", "referrers")
_LOCATED = ("start-upload", "mount", "send-chunk", "upload-status")
_SESSIONS = ("send-chunk", "finish-upload")


_Row = tuple[str, Callable[[], Fault], Callable[[Request], bool]]


def _table(passes: bool, *rows: _Row) -> list[Trouble]:
    return [Trouble(name, make, fits, passes) for name, make, fits in rows]


def _statuses(numbers: Sequence[int], fits: Callable[[Request], bool], name: str) -> Iterator[_Row]:
    for number in numbers:
        yield name.format(number), partial(faults.status, number), fits


PASSING = _table(
    True,
    ("503", partial(faults.status, 503), _any),
    ("500 without a body", partial(faults.bare, 500), _any),
    ("429, now", faults.too_busy, _any),
    ("429 until a moment that is over", partial(faults.too_busy, -5, as_date=True), _any),
    ("503 before the body was read", partial(faults.early_status, 503), _sends),
    ("dropped", faults.dropped, _any),
    ("reset", partial(faults.dropped, reset=True), _any),
    ("answer lost", faults.answer_lost, _any),
    ("answer lost by a reset", partial(faults.answer_lost, reset=True), _any),
    ("half read and kept", partial(faults.half_read, kept=True), _sends),
    ("half read and lost", partial(faults.half_read, kept=False), _sends),
    ("truncated", faults.truncated, _gets),
    ("truncated to nothing", partial(faults.truncated, at=0), _gets),
    ("a length too large", partial(faults.wrong_length, 10), _gets_ok),
    ("slow", partial(faults.slow, 0.002, 3), _any),
    ("of unknown length", faults.chunked, _gets_ok),
    ("token expired", faults.token_expired, _authorized),
    ("session lost", faults.session_lost, _is(*_SESSIONS)),
    ("404 for a blob that is there", faults.absent, _is("head-blob")),
    ("200 for a blob that is not there", faults.phantom, _is("head-blob")),
    ("200 for a blob of another size", partial(faults.phantom, 7), _is("head-blob")),
    ("taken and forgotten", faults.forgotten, _is("mount", "finish-upload")),
    ("mount refused with a session", faults.mount_refused, _is("mount")),
    *_statuses((400, 401, 403, 404, 405), _is("mount"), "mount refused with {}"),
)

LIES = _table(
    False,
    *_statuses((400, 401, 403, 404, 405, 413, 416, 418), _any, "{}"),
    ("401 before the body was read", partial(faults.early_status, 401), _sends),
    ("200 for nothing", partial(faults.bare, 200), _any),
    ("204", partial(faults.bare, 204), _any),
    ("429 for a year", partial(faults.too_busy, 31_536_000), _any),
    ("wrong digest", faults.wrong_digest, _any),
    ("no digest", partial(faults.header, "Docker-Content-Digest", None), _any),
    ("wrong bytes", faults.wrong_bytes, _gets_ok),
    ("shorter", faults.shorter, _gets_ok),
    ("longer", faults.longer, _gets_ok),
    ("a length too small", partial(faults.wrong_length, -1), _gets_ok),
    ("compressed", faults.compressed, _gets_ok),
    ("without end", faults.endless, _gets_ok),
    ("another type", partial(faults.header, "Content-Type", "text/html"), _gets_ok),
    ("another manifest", partial(faults.swapped, _OTHER, MANIFEST_TYPES[0]), _is("get-manifest")),
    ("taken and forgotten", faults.forgotten, _is("put-manifest")),
    ("session without address", partial(faults.header, "Location", None), _is(*_LOCATED)),
    ("session at nobody's", partial(faults.elsewhere, f"http://{_CLOSED}{{path}}"), _is(*_LOCATED)),
    ("session at no address", partial(faults.elsewhere, "http://["), _is(*_LOCATED)),
    ("session of another repository", partial(faults.elsewhere, "/v2/other{path}"), _is(*_LOCATED)),
    ("received nothing", partial(faults.header, "Range", "0-0"), _is("send-chunk")),
    ("received too much", partial(faults.header, "Range", "0-999999999"), _is("send-chunk")),
    ("sent in a circle", partial(faults.redirected, "{path}"), _any),
    ("sent to nobody", partial(faults.redirected, f"http://{_CLOSED}{{path}}"), _any),
    ("sent to a file", partial(faults.redirected, "file:///etc/passwd"), _is(*_READING)),
    ("sent to no address", partial(faults.redirected, "http://["), _is(*_READING)),
)


def often(troubles: Sequence[Trouble]) -> list[ParameterSet]:
    """``troubles`` as parameters: in the unit run only those that hit few requests, and some that stand for
    their like.
    """
    parameters = []
    for one in troubles:
        quick = one.fits is not _any or one.name in ("503", "dropped", "answer lost", "wrong digest")
        parameters.append(pytest.param(one, id=one.name, marks=() if quick else pytest.mark.slow))
    return parameters


def recorded(play: Play) -> list[Request]:
    """What ``play`` asks when nothing happens; it must get to its end."""
    error, requests = play(lambda registry: None)
    if error is not None:
        raise error
    return requests


def hits(trouble: Trouble, conversation: Sequence[Request], play: Play) -> list[str]:
    """Play once for every request that ``trouble`` fits, and let it happen to that one.

    Returns what went otherwise than it may: nothing if all is well.
    """
    return [
        told
        for one in filter(trouble.fits, conversation)
        for told in _played(
            play, trouble, str(one), len(conversation), _once(one, conversation), trouble.passes
        )
    ]


def hitting(
    troubles: Sequence[Trouble], conversation: Sequence[Request]
) -> list[tuple[Trouble, dict[str, Any]]]:
    """Every trouble with every request that it fits, as options of :meth:`FakeRegistry.fail`."""
    return [
        (trouble, _once(request, conversation))
        for trouble in troubles
        for request in conversation
        if trouble.fits(request)
    ]


def lasting(trouble: Trouble, conversation: Sequence[Request], play: Play) -> list[str]:
    """Play once for every kind of request that ``trouble`` fits, and let it happen to all of that kind.

    Returns as :func:`hits`.
    """
    wrong = []
    for kind in dict.fromkeys(one.kind for one in filter(trouble.fits, conversation)):
        options = {"kind": kind, "times": None}
        wrong += _played(play, trouble, f"every {kind}", len(conversation), options, passes=False)
    return wrong


def _once(request: Request, conversation: Sequence[Request]) -> dict[str, Any]:
    before = [one for one in conversation[: request.number] if one.kind == request.kind]
    return {"kind": request.kind, "nth": len(before) + 1}


def _played(
    play: Play, trouble: Trouble, name: str, usual: int, options: Mapping[str, Any], passes: bool
) -> list[str]:
    try:
        error, requests = play(lambda registry: registry.fail(trouble.make(), **options))
    except Exception as raised:
        return [f"{name}: {type(raised).__name__}: {raised}"]
    if passes and error is not None:
        return [f"{name}: {error.code}: {error}"]
    if len(requests) > _MOST_AGAIN * usual:
        return [f"{name}: {len(requests)} requests instead of {usual}"]
    return []
