"""Getting a blob out of a registry: hashed while it arrives, resumed where the connection broke."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace

from envbuild.registry.refusals import lied, slow
from envbuild.registry.retry import Pace, Transient
from envbuild.registry.transport import Call, Registry, Response

__all__ = ["blob_bytes"]

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
                pace = Pace()
                for piece in response.raw.iter_raw():
                    if not pace.keeps(len(piece)):
                        raise Transient(slow(registry.name, digest))
                    part, skipped = piece[skipped:], max(skipped - len(piece), 0)
                    position += len(part)
                    if position > size:
                        raise lied(registry.name, f"it gives more than the {size} bytes of {digest}")
                    hashed.update(part)
                    patience.advance(len(part))
                    if part:
                        yield part
            if position < size:
                error = lied(registry.name, f"it gives {position} instead of {size} bytes of {digest}")
                raise Transient(error)
            break
        except Transient as trouble:
            if position == size:
                break  # it is all here; what broke was only the end
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
    raise registry.refusal(call, registry.answer(response))
