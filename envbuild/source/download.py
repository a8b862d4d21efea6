"""Archives from the web, kept in the cache as long as the server says that they are the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from envbuild.certificates import trusting_context
from envbuild.errors import RemoteError, UsageError
from envbuild.progress import Stage
from envbuild.source.text import clean
from envbuild.store import Store
from envbuild.store.disk import disk_errors

if TYPE_CHECKING:
    import httpx

__all__ = ["download", "keep"]

_MOST_BYTES = 20 * 10**9


def download(url: str, *, store: Store, stage: Stage, offline: bool) -> str:
    """The sha256 of what is at ``url``; the bytes are among the store's artifacts.

    Raises:
        UsageError: ``url`` is no URL.
        RemoteError: it cannot be had.
    """
    shown = clean(url)
    key = hashlib.sha256(f"archive at {url}".encode()).hexdigest()
    known: Mapping[str, str] = store.action(key) or {}
    sha256 = str(known.get("sha256", ""))
    if not sha256 or not store.has_artifact(sha256):
        known, sha256 = {}, ""
    if offline:
        if not sha256:
            raise RemoteError(
                f"{shown} is not in the cache, and --offline does not fetch it",
                code="offline",
                remedy="run once without --offline",
            )
        return sha256
    import httpx

    headers = {"If-None-Match": known["etag"]} if known.get("etag") else {}
    timeout = httpx.Timeout(30.0, connect=10.0)
    try:
        with (
            httpx.Client(verify=trusting_context(), timeout=timeout, follow_redirects=True) as client,
            client.stream("GET", url, headers={"User-Agent": "envbuild", **headers}) as response,
        ):
            if response.status_code == 304 and sha256:
                return sha256
            _check_status(response, shown)
            sha256 = _receive(response, store, stage, shown)
            store.put_action(key, {"sha256": sha256, "etag": response.headers.get("ETag", "")})
    except httpx.InvalidURL as error:
        raise UsageError(f"{shown} is not a URL", code="bad-source", remedy="correct it") from error
    except httpx.HTTPError as error:
        host = clean(urlsplit(url).hostname or "")
        raise RemoteError(
            f"{host} cannot be reached: {clean(str(error)) or type(error).__name__}",
            code="host-unreachable",
            remedy="check the network and the proxy (HTTPS_PROXY), or download it yourself and give the file",
        ) from error
    return sha256


def keep(path: Path, store: Store) -> str:
    """The sha256 of the file at ``path``, which is copied to the store's artifacts."""
    with store.temporary_file() as scratch:
        digest = hashlib.sha256()
        with path.open("rb") as source, scratch.open("wb") as output:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                output.write(chunk)
        scratch.replace(store.artifact_path(digest.hexdigest()))
    return digest.hexdigest()


def _check_status(response: httpx.Response, shown: str) -> None:
    status = response.status_code
    if status in (401, 403):
        raise RemoteError(
            f"{shown} needs credentials that were not given or not accepted",
            code="archive-credentials",
            remedy="put them into the URL (https://USER:PASSWORD@host/...), or download it yourself",
        )
    if status != 200:
        raise RemoteError(
            f"{shown} answered with status {status}",
            code="archive-not-found" if status in (404, 410) else "archive-failed",
            remedy="check the address",
        )


def _receive(response: httpx.Response, store: Store, stage: Stage, shown: str) -> str:
    digest = hashlib.sha256()
    received = 0
    with store.temporary_file() as scratch, disk_errors(store.root):
        with scratch.open("wb") as output:
            for chunk in response.iter_bytes():
                received += len(chunk)
                if received > _MOST_BYTES:
                    raise RemoteError(
                        f"{shown} is larger than any sane repository",
                        code="repository-too-large",
                        remedy="download what you need of it and give the directory",
                    )
                digest.update(chunk)
                output.write(chunk)
                stage.advance(len(chunk))
        os.replace(scratch, store.artifact_path(digest.hexdigest()))  # noqa: PTH105
    return digest.hexdigest()
