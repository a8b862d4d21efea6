"""The content-addressed store: every write is a temporary file and a rename, every name a digest."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from envbuild.errors import DamagedError, MachineError
from envbuild.store.disk import MACHINE, disk_errors, remove_whole, space_errors, touch, write_atomic
from envbuild.store.locks import open_lock, wait_for
from envbuild.store.record import decode, encode

__all__ = ["Blob", "HashingWriter", "Store", "file_digest"]

_OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_EMPTY_INDEX = b'{"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}'
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob's digest (``sha256:<hex>``) and its size in bytes."""

    digest: str
    size: int


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


def file_digest(path: Path) -> str:
    """The sha256 (hex) of what is in the file at ``path``."""
    with path.open("rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _tell_nobody(message: str) -> None:
    pass


def _make(directory: Path, shared: int) -> None:
    """Make a directory of the cache; ``shared`` are mode bits that those have who share it."""
    try:
        directory.mkdir(parents=True)
    except FileExistsError:
        if not directory.is_dir():
            raise
    else:
        if shared:
            directory.chmod(stat.S_IMODE(directory.stat().st_mode) | shared)


class Store:
    """The cache directory. All methods may be called from several threads and processes.

    Correctness never depends on a lock: blobs are immutable and named by their digest, records are
    replaced atomically and checked against the blobs they name when they are read. What is damaged is
    removed and named.

    Parameters:
        warn: told of damage, one sentence each.
    """

    def __init__(self, root: Path, warn: Callable[[str], None] = _tell_nobody) -> None:
        self.root = root
        self.warn = warn
        # What was found to be whole by this process: directory -> what is known about it.
        self.checked: dict[Path, dict[str, Any]] = {}
        self.layout = root / "store-v1"
        self.blobs = self.layout / "blobs" / "sha256"
        self.artifacts = root / "artifacts-v1"
        self.actions = root / "actions-v2"
        self.images = root / "images-v1"
        self.interpreters = root / "interpreters-v2"
        self.trees = root / "trees-v2"
        self.debian = root / "debian-v2"
        self.sources = root / "sources-v2"
        self.uv = root / "uv-v1"
        self.pip = root / "pip-v1"
        self.conda = root / "conda-v1"
        self.tools = root / "tools-v2"
        self.checkouts = root / "checkouts-v2"
        self.logs = root / "logs-v1"
        self.sessions = root / "sessions-v1"
        self.places = root / "places-v2"
        self.tmp = root / "tmp"
        self.locks = root / "locks"
        self.directories = (
            self.blobs,
            self.artifacts,
            self.actions,
            self.images,
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
            self.sessions,
            self.places,
            self.tmp,
            self.locks,
        )

    def prepare(self) -> None:
        """Make the directories. Raises :class:`MachineError` when the place cannot be written."""
        with disk_errors(self.root):
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                # Not the sticky bit: what one has written another one must be able to replace.
                shared = stat.S_IMODE(self.root.stat().st_mode) & 0o2022
                for directory in (self.layout, self.blobs.parent, *self.directories):
                    _make(directory, shared)
            except (FileExistsError, FileNotFoundError) as error:  # a file in the way; /proc and its like
                raise NotADirectoryError(errno.ENOTDIR, "there can be no directory") from error
            for path, content in (("oci-layout", _OCI_LAYOUT), ("index.json", _EMPTY_INDEX)):
                marker = self.layout / path
                try:
                    known = marker.stat().st_size > 0
                except FileNotFoundError:
                    known = False
                if not known:
                    self.write(marker, content)

    def write(self, path: Path, data: bytes) -> None:
        """Write a file of the cache: readers see the old one or the new one.

        Raises:
            MachineError: the disk is full, or the cache cannot be written, or was deleted.
        """
        with disk_errors(self.root):
            try:
                write_atomic(path, data, scratch=self.tmp)
            except FileNotFoundError as error:
                raise self.deleted() from error

    @property
    def is_there(self) -> bool:
        """Whether the directories that :meth:`prepare` has made are still there."""
        return all(directory.is_dir() for directory in self.directories)

    def deleted(self) -> MachineError:
        """The error for a cache that somebody deletes while it is in use."""
        return MachineError(
            f"the cache directory {self.root} was deleted while it was in use",
            code="cache-deleted",
            remedy="run the same command again: what is needed will be made anew",
        )

    def case_collision(self, name: str) -> MachineError | None:
        """Why ``name`` is there already, on a disk where names differ by more than case; None on others."""
        if not (self.root / self.tmp.name.swapcase()).exists():
            return None
        return MachineError(
            f"the disk that holds {self.root} does not tell {name!r} from a name that differs in case only",
            code="case-collision",
            remedy="have the cache on a case-sensitive disk (ENVBUILD_CACHE_DIR)",
        )

    def remove_damaged(self, path: Path, what: str) -> None:
        """Take away what is not what its name says, and say so; what needs it will make it again.

        Raises:
            MachineError: it is not ours to remove.
        """
        self.warn(self.damaged(path, what).message)

    def damaged(self, path: Path, what: str) -> DamagedError:
        """The error for something that is not what its name says; it is removed.

        Raises:
            MachineError: it is not ours to remove.
        """
        if remove_whole(path, self.tmp) or not path.exists():
            return DamagedError(
                f"{what} in the cache was damaged and has been removed",
                code="damaged-cache",
                remedy="run the same command again: it will be made anew",
            )
        raise MachineError(
            f"{what} in the cache is damaged, and cannot be removed: {path}",
            code="cache-not-writable",
            remedy="have its owner remove it, or set ENVBUILD_CACHE_DIR to a directory you own",
        )

    # Blobs

    def blob_path(self, digest: str) -> Path:
        """Where the blob ``sha256:<hex>`` is, or would be.

        Raises:
            ValueError: that is no digest.
        """
        if _DIGEST.fullmatch(digest) is None:
            raise ValueError(f"{digest!r} is not a digest")
        return self.blobs / digest.removeprefix("sha256:")

    def has_blob(self, digest: str, size: int) -> bool:
        """Whether the blob is here with the right size (content is checked when it is sent or unpacked)."""
        try:
            return self.blob_path(digest).stat().st_size == size
        except (OSError, ValueError):
            return False

    def read_blob(self, digest: str) -> bytes:
        """A small blob (a config, a manifest), checked.

        Raises:
            DamagedError: it is not here, or damaged.
        """
        data = self.intact_blob(digest)
        if data is None:
            raise self.damaged_blob(digest)
        return data

    def intact_blob(self, digest: str) -> bytes | None:
        """A small blob; None when it is not here, or damaged: then it stays as it is."""
        try:
            data = self.blob_path(digest).read_bytes()
        except OSError:
            return None
        return data if "sha256:" + hashlib.sha256(data).hexdigest() == digest else None

    def damaged_blob(self, digest: str) -> DamagedError:
        """The error for a blob that is missing or not what its name says; it is removed.

        Raises:
            MachineError: it is not ours to remove.
        """
        path = self.blob_path(digest)
        if path.exists():
            return self.damaged(path, f"the blob {digest}")
        return DamagedError(
            f"the blob {digest} is missing in the cache",
            code="missing-blob",
            remedy="build the image again",
        )

    def put_blob(self, data: bytes) -> Blob:
        """Keep ``data`` (a config, a manifest) and return its digest and size."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        path = self.blob_path(digest)
        with disk_errors(self.root):
            if not self.has_blob(digest, len(data)) or path.read_bytes() != data:
                self.write(path, data)
            else:
                touch(path)
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

    def has_artifact(self, sha256: str) -> bool:
        """Whether the downloaded file is here; all of it is read, and removed if it is another one.

        Raises:
            MachineError: it is damaged and not ours to remove, or cannot be read.
        """
        path = self.artifact_path(sha256)
        with disk_errors(self.root):
            try:
                found = file_digest(path)
            except FileNotFoundError:
                return False
        if found != sha256:
            self.remove_damaged(path, f"the downloaded file {sha256}")
            return False
        touch(path)
        return True

    def place_path(self, digest: str) -> Path:
        """Where it is noted which registries have the blob ``sha256:<hex>``."""
        return self.places / digest.removeprefix("sha256:")

    # Records

    def record(self, path: Path) -> Any:
        """What the record at ``path`` says (JSON), None when there is none; a damaged one is removed."""
        try:
            return decode(path.name, path.read_bytes())
        except OSError:
            return None
        except ValueError:
            self.remove_damaged(path, f"the record {path.parent.name}/{path.name}")
            return None

    def intact_record(self, path: Path) -> Any:
        """Like :meth:`record`, but a damaged one stays as it is."""
        try:
            return decode(path.name, path.read_bytes())
        except (OSError, ValueError):
            return None

    def put_record(self, path: Path, value: Any) -> None:
        """Keep ``value`` (JSON) at ``path``."""
        self.write(path, encode(path.name, value))

    def action(self, key: str) -> dict[str, Any] | None:
        """What came of the inputs that ``key`` (hex) stands for; None when that is not known."""
        path = self.actions / key
        value = self.record(path)
        if value is not None:
            touch(path)
        return value if isinstance(value, dict) else None

    def put_action(self, key: str, value: dict[str, Any]) -> None:
        """Keep ``value`` (JSON) under ``key`` (hex)."""
        self.put_record(self.actions / key, value)

    # Unfinished work

    @contextmanager
    def temporary_file(self) -> Iterator[Path]:
        """A path for a file in ``tmp/`` that is gone after the block unless it was renamed away.

        A disk that gets full in the block, wherever, is this class's error too: it is where the block writes.
        """
        with disk_errors(self.root):
            handle, name = tempfile.mkstemp(prefix=MACHINE, dir=self.tmp)
            os.close(handle)
            path = Path(name)
            path.chmod(0o644)
        try:
            with space_errors(self.root):
                yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def temporary_directory(self) -> Iterator[Path]:
        """A directory in ``tmp/`` that is gone after the block unless it was renamed away."""
        with disk_errors(self.root):
            path = Path(tempfile.mkdtemp(prefix=MACHINE, dir=self.tmp))
        try:
            with space_errors(self.root):
                yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the advisory lock ``name`` so that two processes do not do the same work at once."""
        with disk_errors(self.root):
            handle = open_lock(self.locks / name)
        try:
            wait_for(handle)
            yield
        finally:
            os.close(handle)
