"""Fetching a file of which nothing is known but its URL."""

from __future__ import annotations

import hashlib

from envbuild.errors import RemoteError
from envbuild.fetch import http_client
from envbuild.source.text import redact
from envbuild.store import Store

__all__ = ["download"]

_MOST_BYTES = 4 << 30
_ATTEMPTS = 3


def download(url: str, *, store: Store, offline: bool) -> tuple[str, int]:
    """Fetch ``url`` into the store; returns its sha256 and its size.

    Raises:
        RemoteError: it cannot be fetched, or is larger than any sane package.
    """
    import httpx

    if offline:
        raise RemoteError(
            f"{redact(url)} has to be asked for, and this is an offline run",
            code="offline",
            remedy="run once without --offline",
        )
    reason = ""
    with http_client() as client:
        for _ in range(_ATTEMPTS):
            try:
                return _get(client, url, store)
            except httpx.HTTPStatusError as error:
                reason = f"HTTP {error.response.status_code}"
                if error.response.status_code < 500:
                    break
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                reason = redact(str(error)) or type(error).__name__
    raise RemoteError(
        f"{redact(url)} cannot be fetched: {reason}",
        code="download-failed",
        remedy="check the URL and the network, then try again",
    )


def _get(client: object, url: str, store: Store) -> tuple[str, int]:
    import httpx

    assert isinstance(client, httpx.Client)
    digest, size = hashlib.sha256(), 0
    with store.temporary_file() as path:
        with client.stream("GET", url) as response, path.open("wb") as copy:
            response.raise_for_status()
            for block in response.iter_raw():
                size += len(block)
                if size > _MOST_BYTES:
                    raise RemoteError(f"{redact(url)} is larger than 4 GiB", code="download-too-large")
                digest.update(block)
                copy.write(block)
        path.replace(store.artifact_path(digest.hexdigest()))
    return digest.hexdigest(), size
