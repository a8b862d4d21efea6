"""The content-addressed store: every write is a temporary file and a rename, every name a digest."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from envbuild.errors import MachineError

__all__ = ["Blob", "HashingWriter", "Store", "disk_errors", "write_atomic"]

_OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob's digest (``sha256:<hex>``) and its size in bytes."""

    digest: str
    size: int


@contextmanager
def _space_errors(path: Path) -> Iterator[None]:
    """Turn a full disk into an error with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MachineError(
                f"no space left on the disk that holds {path}",
                code="disk-full",
                remedy="free some space; the cache can be pruned (`envbuild cache prune`) or be on another"
                " disk (ENVBUILD_CACHE_DIR)",
            ) from error
        raise


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the disk's refusals into errors with a remedy."""
    try:
        with _space_errors(path):
            yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise MachineError(
                f"the cache directory {path} cannot be written: {error.strerror}",
                code="cache-not-writable",
                remedy="set ENVBUILD_CACHE_DIR to a directory you own",
            ) from error
        raise


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write ``data`` to ``path`` so that readers see the old file or the new one, never a part.

    Raises:
        MachineError: the disk is full.
        OSError: as the file system reports it.
    """
    with _space_errors(path.parent):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with _space_errors(path.parent), os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class _Writable(Protocol):
    def write(self, data: bytes, /) -> object: ...


class HashingWriter:
    """A writable stream that counts and hashes (sha256) what passes through it."""

    def __init__(self, stream: _Writable) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes, /) -> int:
        """Write all of ``data``; returns the number of bytes."""
        self._stream.write(data)
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` of everything written so far."""
        return "sha256:" + self._hash.hexdigest()


class Store:
    """The cache directory. All methods may be called from several threads and processes.

    Correctness never depends on a lock: blobs are immutable and named by their digest, records are
    replaced atomically and checked against the blobs they name when they are read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = root / "store-v1"
        self.blobs = self.layout / "blobs" / "sha256"
        self.artifacts = root / "artifacts-v1"
        self.actions = root / "actions-v1"
        self.interpreters = root / "interpreters-v1"
        self.trees = root / "trees-v1"
        self.debian = root / "debian-v1"
        self.sources = root / "sources-v1"
        self.uv = root / "uv-v1"
        self.pip = root / "pip-v1"
        self.conda = root / "conda-v1"
        self.tools = root / "tools-v1"
        self.checkouts = root / "checkouts-v1"
        self.logs = root / "logs-v1"
        self.places = root / "places-v1"
        self.tmp = root / "tmp"
        self.locks = root / "locks"
        self.directories = (
            self.blobs,
            self.artifacts,
            self.actions,
            self.interpreters,
            self.trees,
            self.debian,
            self.sources,
            self.uv,
            self.pip,
            self.conda,
            self.tools,
            self.checkouts,
            self.logs,
            self.places,
            self.tmp,
            self.locks,
        )

    def prepare(self) -> None:
        """Make the directories. Raises :class:`MachineError` when the place cannot be written."""
        with disk_errors(self.root):
            try:
                for directory in self.directories:
                    directory.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, FileNotFoundError) as error:  # a file in the way; /proc and its like
                raise NotADirectoryError(errno.ENOTDIR, "there can be no directory") from error
            marker = self.layout / "oci-layout"
            if not marker.exists():
                write_atomic(marker, _OCI_LAYOUT)
            index = self.layout / "index.json"
            if not index.exists():
                write_atomic(
                    index,
                    b'{"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}',
                )

    # Blobs

    def blob_path(self, digest: str) -> Path:
        """Where the blob ``sha256:<hex>`` is, or would be."""
        return self.blobs / digest.removeprefix("sha256:")

    def has_blob(self, digest: str, size: int) -> bool:
        """Whether the blob is here with the right size (content is checked when it is sent or unpacked)."""
        try:
            return self.blob_path(digest).stat().st_size == size
        except FileNotFoundError:
            return False

    def put_blob(self, data: bytes) -> Blob:
        """Keep ``data`` (a config, a manifest) and return its digest and size."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if not self.has_blob(digest, len(data)):
            with disk_errors(self.root):
                write_atomic(self.blob_path(digest), data)
        return Blob(digest, len(data))

    @contextmanager
    def blob_writer(self) -> Iterator[HashingWriter]:
        """A stream whose bytes become a blob when the block ends without an exception."""
        with self.temporary_file() as path, disk_errors(self.root):
            with path.open("wb") as stream:
                writer = HashingWriter(stream)
                yield writer
            path.replace(self.blob_path(writer.digest))

    # Downloaded artifacts

    def artifact_path(self, sha256: str) -> Path:
        """Where the downloaded file with this sha256 is, or would be."""
        return self.artifacts / sha256

    def place_path(self, digest: str) -> Path:
        """Where it is noted which registries have the blob ``sha256:<hex>``."""
        return self.places / digest.removeprefix("sha256:")

    # Actions: inputs -> what came of them

    def action(self, key: str) -> dict[str, Any] | None:
        """The record kept under ``key`` (hex), or None when there is none that can be read."""
        try:
            value = json.loads((self.actions / key).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def put_action(self, key: str, value: dict[str, Any]) -> None:
        """Keep ``value`` (JSON) under ``key`` (hex)."""
        with disk_errors(self.root):
            write_atomic(self.actions / key, json.dumps(value, sort_keys=True).encode())

    # Unfinished work

    @contextmanager
    def temporary_file(self) -> Iterator[Path]:
        """A path for a file in ``tmp/`` that is gone after the block unless it was renamed away.

        A disk that gets full in the block, wherever, is this class's error too: it is where the block writes.
        """
        with disk_errors(self.root):
            handle, name = tempfile.mkstemp(dir=self.tmp)
            os.close(handle)
            path = Path(name)
            path.chmod(0o644)
        try:
            with _space_errors(self.root):
                yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def temporary_directory(self) -> Iterator[Path]:
        """A directory in ``tmp/`` that is gone after the block unless it was renamed away."""
        with disk_errors(self.root):
            path = Path(tempfile.mkdtemp(dir=self.tmp))
        try:
            with _space_errors(self.root):
                yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the advisory lock ``name`` so that two processes do not do the same work at once."""
        with disk_errors(self.root):
            handle = os.open(self.locks / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
