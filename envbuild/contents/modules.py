"""The importable modules of locked packages, exactly: from the lists of files in wheels and conda packages.

A wheel is a zip file, whose directory is at its end, and a ``.conda`` is one whose description is a small
member: so where an artifact is not in the cache, two requests for parts of it are enough. What was found is
kept under the artifact's sha256.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING

from envbuild.contents.names import importable
from envbuild.errors import EnvbuildError, RemoteError
from envbuild.fetch import http_client, local_path
from envbuild.lock.model import Artifact, CondaPackage, Wheel
from envbuild.store import Store

if TYPE_CHECKING:
    import httpx

__all__ = ["Modules"]

_FORMAT = "modules-1"
_TAIL = 1 << 16  # bytes; the directory of most wheels is in the last ones
_MOST_DESCRIPTION = 64 << 20
_REQUESTS = 8
_UNREADABLE = (zipfile.BadZipFile, zlib.error, tarfile.TarError, ValueError, KeyError, EOFError, OSError)

Address = Callable[[Artifact], str]


class Modules:
    """What can be imported from each locked package.

    Parameters:
        addresses: makes what tells the URL of an artifact; None when nothing may be fetched.
    """

    def __init__(self, store: Store, addresses: Callable[[], Address] | None = None) -> None:
        self._store = store
        self._addresses = addresses
        self._found: dict[str, frozenset[str] | None] = {}

    def of(self, packages: Iterable[Wheel | CondaPackage]) -> dict[str, frozenset[str]]:
        """The roots (:func:`envbuild.contents.names.importable`) of those packages that are known here."""
        known = {}
        for package in packages:
            roots = self._known(package)
            if roots is not None:
                known[package.name] = roots
        return known

    def fetch(self, packages: Iterable[Wheel | CondaPackage]) -> None:
        """Ask for the lists of files of those ``packages`` that are not known here, several at once.

        What cannot be had stays unknown.
        """
        missing = [package for package in packages if self._known(package) is None]
        missing = [package for package in missing if package.artifact.source != "built"]
        if not missing or self._addresses is None:
            return
        try:
            address = self._addresses()
            urls = [(package, address(package.artifact)) for package in missing]
        except EnvbuildError:  # no index, no network
            return
        with ExitStack() as stack:
            remote = any(local_path(url) is None for _, url in urls)
            client = stack.enter_context(http_client(connections=_REQUESTS)) if remote else None
            pool = stack.enter_context(ThreadPoolExecutor(_REQUESTS))
            futures = [pool.submit(self._fetch, package, url, client) for package, url in urls]
        for future in futures:
            future.result()

    def _known(self, package: Wheel | CondaPackage) -> frozenset[str] | None:
        sha256 = package.artifact.sha256
        if sha256 not in self._found:
            record = self._store.action(_key(package.artifact))
            if record is not None:
                self._found[sha256] = frozenset(record["modules"])
            else:
                path = self._store.artifact_path(sha256)
                try:
                    with path.open("rb") as stream:
                        self._keep(package, _read(package, stream))
                except _UNREADABLE:
                    self._found[sha256] = None
        return self._found[sha256]

    def _fetch(self, package: Wheel | CondaPackage, url: str, client: httpx.Client | None) -> None:
        local = local_path(url)
        try:
            if local is not None:
                with Path(local).open("rb") as stream:
                    self._keep(package, _read(package, stream))
            elif client is not None:
                parts = _Parts(client, url, package.artifact.size)
                self._keep(package, _read(package, io.BufferedReader(parts, _TAIL)))
        except (*_UNREADABLE, RemoteError):
            return

    def _keep(self, package: Wheel | CondaPackage, roots: frozenset[str]) -> None:
        self._found[package.artifact.sha256] = roots
        self._store.put_action(_key(package.artifact), {"modules": sorted(roots)})


def _key(artifact: Artifact) -> str:
    return hashlib.sha256(f"{_FORMAT} {artifact.sha256}".encode()).hexdigest()


def _read(package: Wheel | CondaPackage, stream: IO[bytes]) -> frozenset[str]:
    """The modules in the artifact that ``stream`` is.

    Raises:
        one of ``_UNREADABLE``: it is not an artifact of its kind.
    """
    if isinstance(package, Wheel):
        with zipfile.ZipFile(stream) as archive:
            return importable(archive.namelist())
    return importable(_site_packages(_conda_paths(package.artifact.filename, stream)))


def _site_packages(paths: Iterable[str]) -> Iterator[str]:
    """Of a conda package's files those that are Python's, relative to where Python looks for them."""
    for path in paths:
        if path.startswith("site-packages/"):  # noarch: python
            yield path.removeprefix("site-packages/")
        elif path.startswith("lib/python") and "/site-packages/" in path:
            yield path.partition("/site-packages/")[2]


def _conda_paths(filename: str, stream: IO[bytes]) -> list[str]:
    if not filename.endswith(".conda"):
        with tarfile.open(fileobj=stream, mode="r:bz2") as archive:
            return archive.getnames()
    import zstandard

    with zipfile.ZipFile(stream) as outer:
        names = [name for name in sorted(outer.namelist()) if name.startswith("info-")]
        with outer.open("".join(names[:1])) as packed:
            reader = zstandard.ZstdDecompressor().stream_reader(packed)
            text = reader.read(_MOST_DESCRIPTION)
    with tarfile.open(fileobj=io.BytesIO(text), mode="r:") as archive:
        member = archive.extractfile("info/paths.json")
        if member is None:
            raise KeyError("info/paths.json")
        return [str(row["_path"]) for row in json.load(member)["paths"]]


class _Parts(io.RawIOBase):
    """A remote file of which parts are asked for (HTTP range requests); its end comes first.

    Raises (from reading):
        OSError: the server does not give parts, or nothing at all.
    """

    def __init__(self, client: httpx.Client, url: str, size: int) -> None:
        self._client = client
        self._url = url
        self._size = size
        self._position = 0
        self._tail_start = max(0, size - _TAIL)
        self._tail: bytes | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError("before the beginning")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        start, end = self._position, min(self._position + len(buffer), self._size)
        if start >= end:
            return 0
        data = self._get(start, end)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _get(self, start: int, end: int) -> bytes:
        if self._tail is None:
            self._tail = self._ask(self._tail_start, self._size)
        if start >= self._tail_start:
            return self._tail[start - self._tail_start : end - self._tail_start]
        return self._ask(start, end)

    def _ask(self, start: int, end: int) -> bytes:
        import httpx

        try:
            with self._client.stream(
                "GET", self._url, headers={"Range": f"bytes={start}-{end - 1}"}
            ) as response:
                if response.status_code != 206:
                    raise OSError("the server does not give parts of files")
                data = b""
                for block in response.iter_raw():
                    data += block
                    if len(data) > end - start:
                        raise OSError("more than was asked for")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OSError(str(error)) from error
        if len(data) != end - start:
            raise OSError("less than was asked for")
        return data
