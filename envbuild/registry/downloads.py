"""Getting a blob out of a registry: hashed while it arrives, resumed where the connection broke."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace

from envbuild.registry.refusals import Answer, lied
from envbuild.registry.retry import Transient
from envbuild.registry.transport import Call, Registry, Response

__all__ = ["blob_bytes"]

_PIECE = 1 << 18
_MOST_ERROR = 64 << 10
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-")


def blob_bytes(registry: Registry, call: Call, digest: str, size: int) -> Iterator[bytes]:
    """The blob ``digest``; ``call`` gets it from its start.

    Raises:
        RemoteError: the registry does not give it, or gives something else: in that case at the end, after
            everything, or before the first byte too many.
    """
    patience, hashed, position = registry.patience(), hashlib.sha256(), 0
    while True:
        resumed = replace(call, headers={"Range": f"bytes={position}-"}) if position else call
        try:
            with registry.open(resumed) as response:
                skipped = position - _start(registry, resumed, response, position)
                for piece in response.raw.iter_raw(_PIECE):
                    part, skipped = piece[skipped:], max(skipped - len(piece), 0)
                    position += len(part)
                    if position > size:
                        raise lied(registry.name, f"{digest} should have {size} bytes, and has more")
                    hashed.update(part)
                    patience.advance(len(part))
                    if part:
                        yield part
            if position < size:
                raise Transient(lied(registry.name, f"{digest} should have {size} bytes, not {position}"))
            break
        except Transient as trouble:
            patience.wait(trouble)
    if "sha256:" + hashed.hexdigest() != digest:
        raise lied(registry.name, f"instead of {digest} it gives sha256:{hashed.hexdigest()}")


def _start(registry: Registry, call: Call, response: Response, wanted: int) -> int:
    """Where in the blob the answer begins."""
    if response.status == 200:
        return 0
    if response.status == 206:
        given = _CONTENT_RANGE.match(response.headers.get("content-range", ""))
        start = int(given[1]) if given else wanted
        if start > wanted:
            raise lied(registry.name, f"asked for bytes from {wanted} it gives those from {start}")
        return start
    body = b"".join(_up_to(response.raw.iter_raw(_PIECE), _MOST_ERROR))
    error = registry.refusal(call, Answer(response.status, response.headers, body))
    raise error


def _up_to(pieces: Iterator[bytes], most: int) -> Iterator[bytes]:
    for piece in pieces:
        yield piece[:most]
        most -= len(piece)
        if most <= 0:
            return
