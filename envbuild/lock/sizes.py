"""How large files of an index are: simple indexes in HTML do not say, so their server is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from envbuild.errors import RemoteError
from envbuild.fetch import http_client, local_path
from envbuild.lock.select import Pin
from envbuild.source import redact
from envbuild.store import Store

if TYPE_CHECKING:
    import httpx

__all__ = ["measure"]

_CONNECTIONS = 16
_ATTEMPTS = 3


def measure(pins: Iterable[Pin], *, store: Store, known: Mapping[str, int]) -> tuple[Pin, ...]:
    """``pins`` with every :attr:`Pin.size` filled in (bytes), in the same order.

    Parameters:
        known: sizes by sha256, from a previous lock.

    Raises:
        RemoteError: a file's server does not answer, or will not tell.
    """
    sized = [replace(pin, size=_local_size(pin, store, known)) for pin in pins]
    unknown = {pin.sha256: pin for pin in sized if pin.size is None}
    if not unknown:
        return tuple(sized)
    with http_client(connections=_CONNECTIONS) as client, ThreadPoolExecutor(_CONNECTIONS) as pool:
        answers = dict(
            zip(unknown, pool.map(lambda pin: _remote_size(client, pin), unknown.values()), strict=True)
        )
    return tuple(replace(pin, size=answers[pin.sha256]) if pin.size is None else pin for pin in sized)


def _local_size(pin: Pin, store: Store, known: Mapping[str, int]) -> int | None:
    if pin.size is not None:
        return pin.size
    if pin.sha256 in known:
        return known[pin.sha256]
    if store.has_artifact(pin.sha256):
        return store.artifact_path(pin.sha256).stat().st_size
    return None


def _remote_size(client: httpx.Client, pin: Pin) -> int:
    import httpx

    local = local_path(pin.url)
    reason = ""
    for _ in range(_ATTEMPTS):
        try:
            if local is not None:
                return local.stat().st_size
            for ask in (_from_head, _from_range, _by_counting):
                size = ask(client, pin.url)
                if size is not None:
                    return size
        except (httpx.HTTPError, OSError) as error:
            reason = f": {redact(str(error)) or type(error).__name__}"
    raise RemoteError(
        f"the size of {pin.filename} cannot be found out from {redact(pin.url)}{reason}",
        code="size-unknown",
        remedy="check the network and try again",
    )


def _from_head(client: httpx.Client, url: str) -> int | None:
    response = client.head(url)
    length = response.headers.get("Content-Length", "")
    encoded = "Content-Encoding" in response.headers
    return int(length) if response.is_success and length.isdecimal() and not encoded else None


def _from_range(client: httpx.Client, url: str) -> int | None:
    with client.stream("GET", url, headers={"Range": "bytes=0-0"}) as response:
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        return int(total) if response.status_code == 206 and total.isdecimal() else None


def _by_counting(client: httpx.Client, url: str) -> int | None:
    with client.stream("GET", url) as response:
        response.raise_for_status()
        return sum(len(block) for block in response.iter_raw())
