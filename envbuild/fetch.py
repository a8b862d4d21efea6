"""Getting artifacts: from a named source into the store, verified on the way."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from envbuild.errors import RemoteError, RepoError
from envbuild.lock.model import Artifact
from envbuild.network.client import open_client
from envbuild.progress import Stage
from envbuild.source.text import redact
from envbuild.store import Store
from envbuild.store.disk import disk_errors

if TYPE_CHECKING:
    import httpx

__all__ = ["Fetcher", "Sources", "http_client", "local_path"]

_BLOCK = 1 << 18
_ATTEMPTS = 4
_FIRST_PAUSE = 0.5  # seconds; doubled after every attempt
_LONGEST_PAUSE = 30.0
# "HTTP 403" is ours, "407 Proxy Authentication Required" httpx's. Ports and versions have digits, too.
_DENIED = re.compile(r"HTTP 40[137]\b|(?<![\w.:/-])407 ")
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


def local_path(url: str) -> Path | None:
    """The path that a ``file:`` URL names, None for any other URL.

    >>> local_path("file:///srv/wheels/torch-2.0%2Bcpu.whl")
    PosixPath('/srv/wheels/torch-2.0+cpu.whl')
    """
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


@dataclass(frozen=True, repr=False, slots=True)
class Sources:
    """Where named sources are: name -> base URLs, best first. URLs may hold credentials."""

    addresses: Mapping[str, tuple[str, ...]]

    def __repr__(self) -> str:
        shown = {name: [redact(base) for base in bases] for name, bases in sorted(self.addresses.items())}
        return f"Sources({shown})"

    def urls(self, artifact: Artifact) -> tuple[str, ...]:
        """Where ``artifact`` should be; nothing when its source or its path is not known."""
        if not artifact.path:
            return ()
        bases = self.addresses.get(artifact.source, ())
        return tuple(f"{base.rstrip('/')}/{artifact.path}" for base in bases)


@contextmanager
def http_client(*, connections: int = 8) -> Iterator[httpx.Client]:
    """An HTTP client that follows redirects, with the user's passwords (``.netrc``, keyring).

    Raises:
        MachineError: the proxy that the environment names cannot be used.
    """
    from envbuild.network.credentials import Credentials, HostAuth

    auth = HostAuth(Credentials(os.environ))
    hooks = {"request": [auth.authorize]}
    with open_client(connections=connections, follow_redirects=True, auth=auth, event_hooks=hooks) as client:
        yield client


class _Gone(Exception):
    """This URL does not give the file, another one might."""


class _Transient(Exception):
    """Trying again may help; ``pause`` is what the server asks for, in seconds."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class Fetcher:
    """Downloads artifacts into the store, several at once; a context manager.

    Every file is hashed while it arrives and only gets its final name when size and sha256 are right, so
    several processes may fetch the same file at the same time. What is in the store already is hashed, too,
    before it is used, and fetched anew when it is damaged.

    Parameters:
        locate: finds the URL of an artifact that is not where its path says (None: not found); may be slow.
        jobs: how many downloads run at once.
        offline: fail instead of using the network.
    """

    def __init__(
        self,
        store: Store,
        sources: Sources,
        *,
        locate: Callable[[Artifact], str | None] | None = None,
        jobs: int = 8,
        offline: bool = False,
    ) -> None:
        self._store = store
        self._sources = sources
        self._locate = locate
        self._locating = threading.Lock()
        self._jobs = jobs
        self._offline = offline
        self._stop = threading.Event()
        self._running: dict[str, Future[Path]] = {}
        self._guard = threading.Lock()
        self._client: httpx.Client | None = None

    def __enter__(self) -> Fetcher:
        self._resources = ExitStack()
        self._pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="fetch")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stop.set()
        self._pool.shutdown(cancel_futures=error is not None)
        self._resources.close()

    def fetch(self, artifact: Artifact, stage: Stage | None = None) -> Path:
        """Get one artifact; returns where it is in the store. See :meth:`submit`."""
        return self.submit(artifact, stage).result()

    def submit(self, artifact: Artifact, stage: Stage | None = None) -> Future[Path]:
        """Start getting ``artifact``; the result is its path in the store.

        Its size is added to ``stage``'s total at once, and the bytes are counted as they arrive. Submitting
        the same file twice downloads it once.

        Raises (through the future):
            RemoteError: no source has the file.
            RepoError: a source gave something else than what the lock names.
            MachineError: the store cannot be written.
        """
        if stage is not None:
            stage.add_total(artifact.size)
        with self._guard:
            running = self._running.get(artifact.sha256)
            if running is None:
                running = self._pool.submit(self._get, artifact, stage)
                self._running[artifact.sha256] = running
                return running
        if stage is not None:
            stage.advance(artifact.size, cached=True)
        return running

    def require(self, artifacts: Iterable[Artifact]) -> None:
        """Offline, refuse unless every one of ``artifacts`` is in the store.

        Raises:
            RemoteError: names all that are missing.
        """
        if not self._offline:
            return
        missing = sorted({artifact.filename for artifact in artifacts if not self._seems_stored(artifact)})
        if missing:
            raise _offline_error(missing)

    def _seems_stored(self, artifact: Artifact) -> bool:
        try:
            return self._store.artifact_path(artifact.sha256).stat().st_size == artifact.size
        except FileNotFoundError:
            return False

    def _get(self, artifact: Artifact, stage: Stage | None) -> Path:
        if self._seems_stored(artifact) and self._store.has_artifact(artifact.sha256):
            if stage is not None:
                stage.advance(artifact.size, cached=True)
            return self._store.artifact_path(artifact.sha256)
        if self._offline:
            raise _offline_error([artifact.filename])
        if stage is not None:
            stage.detail(artifact.filename)
        reason = "no address is known for it"
        tried: list[str] = []
        for url in self._places(artifact, tried):
            tried.append(url)
            try:
                return self._download(artifact, url, stage)
            except (_Gone, _Transient) as error:
                reason = f"{redact(url)}: {error}"
        raise RemoteError(
            f"{artifact.filename} cannot be fetched from source `{artifact.source}`: {reason}",
            code="artifact-unavailable",
            remedy=_remedy(artifact, reason),
        )

    def _places(self, artifact: Artifact, tried: list[str]) -> Iterator[str]:
        yield from self._sources.urls(artifact)
        if self._locate is not None:
            with self._locating:  # one search finds many files; the next one then costs nothing
                found = self._locate(artifact)
            if found is not None and found not in tried:
                yield found

    def _download(self, artifact: Artifact, url: str, stage: Stage | None) -> Path:
        final = self._store.artifact_path(artifact.sha256)
        with (
            self._store.temporary_file() as path,
            disk_errors(self._store.root),
            path.open("wb") as stream,
        ):
            transfer = _Transfer(artifact, stream, stage)
            try:
                local = local_path(url)
                if local is None:
                    self._transfer(transfer, url)
                else:
                    self._copy(transfer, local)
                transfer.check(url)
            except BaseException:
                transfer.forget()
                raise
            stream.flush()
            path.replace(final)
        return final

    def _transfer(self, transfer: _Transfer, url: str) -> None:
        """Bring the whole file, going on where the connection broke; raises when it is not the right one."""
        pause = _FIRST_PAUSE
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._receive(transfer, url)
            except _Transient as error:
                if attempt == _ATTEMPTS:
                    raise
                self._sleep(min(error.pause or pause, _LONGEST_PAUSE))
                pause *= 2
            else:
                return

    def _connected(self) -> httpx.Client:
        """The client, made when there is something to download."""
        with self._guard:
            if self._client is None:
                self._client = self._resources.enter_context(http_client(connections=self._jobs))
            return self._client

    def _copy(self, transfer: _Transfer, path: Path) -> None:
        """Take the file from a directory of wheels that the user's index settings name."""
        try:
            with path.open("rb") as source:
                while block := source.read(_BLOCK):
                    transfer.write(block, path.as_uri())
        except (FileNotFoundError, IsADirectoryError) as error:
            raise _Gone(error.strerror) from error

    def _receive(self, transfer: _Transfer, url: str) -> None:
        import httpx

        headers = {"Range": f"bytes={transfer.size}-"} if transfer.size else {}
        try:
            with self._connected().stream("GET", url, headers=headers) as response:
                _check_status(response)
                if transfer.size and not _continues(response, transfer.size):
                    transfer.forget()
                for block in response.iter_raw(_BLOCK):
                    if self._stop.is_set():
                        raise CancelledError
                    transfer.write(block, url)
        except (httpx.TransportError, httpx.TooManyRedirects) as error:
            raise _Transient(_why(error)) from error
        except httpx.InvalidURL as error:
            raise _Gone(str(error)) from error

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise CancelledError


class _Transfer:
    """One file on its way: what has arrived so far, its hash, and the progress shown for it."""

    def __init__(self, artifact: Artifact, stream: BinaryIO, stage: Stage | None) -> None:
        self.artifact = artifact
        self.size = 0
        self._stream = stream
        self._stage = stage
        self._hash = hashlib.sha256()

    def write(self, block: bytes, url: str) -> None:
        """Take the next bytes; refuses more than the lock promises, so a liar cannot fill the disk."""
        if self.size + len(block) > self.artifact.size:
            raise self._mismatch(url, f"more than {self.artifact.size} bytes")
        self._stream.write(block)
        self._hash.update(block)
        self.size += len(block)
        if self._stage is not None:
            self._stage.advance(len(block))

    def forget(self) -> None:
        """Start from the beginning."""
        if self._stage is not None and self.size:
            self._stage.advance(-self.size)
        self._stream.seek(0)
        self._stream.truncate()
        self._hash = hashlib.sha256()
        self.size = 0

    def check(self, url: str) -> None:
        """Raise :class:`RepoError` unless this is the file the lock names."""
        if self.size != self.artifact.size:
            raise self._mismatch(url, f"{self.size} bytes instead of {self.artifact.size}")
        if self._hash.hexdigest() != self.artifact.sha256:
            raise self._mismatch(url, f"sha256 {self._hash.hexdigest()} instead of {self.artifact.sha256}")

    def _mismatch(self, url: str, what: str) -> RepoError:
        # The lock and the source contradict each other. It is the lock that people can look at and mend.
        return RepoError(
            f"{self.artifact.filename} is not the locked file: {redact(url)} gave {what}",
            code="hash-mismatch",
            file="envbuild.lock",
            remedy="do not use it: ask who runs the source; "
            "if the file was replaced on purpose, lock again with `envbuild lock`",
        )


def _check_status(response: httpx.Response) -> None:
    if response.status_code in (200, 206):
        return
    reason = f"HTTP {response.status_code} {response.reason_phrase}".rstrip()
    if response.status_code in _TRANSIENT:
        wanted = response.headers.get("Retry-After", "")
        raise _Transient(reason, float(wanted) if wanted.isdecimal() else None)
    raise _Gone(reason)


def _continues(response: httpx.Response, offset: int) -> bool:
    return response.status_code == 206 and response.headers.get("Content-Range", "").startswith(
        f"bytes {offset}-"
    )


def _why(error: Exception) -> str:
    return redact(str(error)) or type(error).__name__


def _offline_error(missing: list[str]) -> RemoteError:
    first, others = missing[0], len(missing) - 1
    more = f" (nor are {others} more)" if others else ""
    return RemoteError(
        f"{first} is not in the cache{more}, and this is an offline run",
        code="offline",
        remedy="run once without --offline",
        detail="\n".join(missing) if others else None,
    )


def _remedy(artifact: Artifact, reason: str) -> str:
    if _DENIED.search(reason):
        return "set user and password in the index's or mirror's address, in ~/.netrc, or those of the proxy"
    if artifact.source == "pypi":
        name = artifact.filename.split("-")[0]
        return (
            "check the network and the index settings (UV_DEFAULT_INDEX); if the index dropped the file, "
            f"run `envbuild lock --upgrade-package {name}`"
        )
    return (
        "check the network and the mirror's address; if the mirrors dropped the file, "
        "run `envbuild lock --upgrade-base`"
    )
