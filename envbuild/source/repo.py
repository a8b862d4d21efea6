"""A repository on disk, read without ever leaving it.

Paths are walked one component at a time below an open directory (``openat``), so what was checked is what
is opened: a symbolic link that appears between the two cannot lead out, and a FIFO that appears cannot
block. Python has no ``openat2(RESOLVE_BENEATH)``; :meth:`Repo._locate` is its rules in user space.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from envbuild.errors import RepoError
from envbuild.source.origin import Origin
from envbuild.source.patterns import Pattern
from envbuild.source.text import printable

__all__ = ["Repo", "RepoFile"]

Kind = Literal["file", "dir", "symlink", "other"]

_LEFT_OUT = frozenset({".git", ".ipynb_checkpoints", "__pycache__"})
_VIRTUAL_ENVIRONMENT = "pyvenv.cfg"
_MAX_ENTRIES = 1_000_000
_MAX_DEPTH = 128
_MAX_LINKS = 40
_CHUNK = 1 << 20
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO waits for a writer.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class RepoFile:
    """One entry of a repository.

    ``path`` is relative to the root, in the file system's own bytes, ``/``-separated. ``size`` (bytes) and
    ``executable`` are of regular files, ``target`` is a symbolic link's. ``"other"`` is what can be neither
    read nor packed: FIFOs, sockets, devices.
    """

    path: bytes
    kind: Kind
    size: int = 0
    executable: bool = False
    target: bytes = b""

    @property
    def name(self) -> str:
        """The path for people: one line, printable, valid UTF-8."""
        return printable(self.path)


@dataclass(frozen=True, slots=True)
class Repo:
    """A repository: an existing directory (``root``, absolute, without symbolic links).

    With an ``origin`` it was fetched, belongs to the cache and must not be changed. ``include`` and
    ``exclude`` say what goes into its image whatever other rules say (:mod:`envbuild.source.selection`).
    """

    root: Path
    origin: Origin | None = None
    include: tuple[Pattern, ...] = ()
    exclude: tuple[Pattern, ...] = ()

    @property
    def name(self) -> str:
        """Its name, for people: the directory's, or that of where it came from."""
        return self.origin.name if self.origin else printable(self.root.name) or "repository"

    def files(self, *, everything: bool = False) -> tuple[RepoFile, ...]:
        """Every entry below the root, sorted by the bytes of the path's components.

        Left out, with all they contain: ``.git``, ``.ipynb_checkpoints``, ``__pycache__`` and virtual
        environments (directories with a ``pyvenv.cfg``); unless ``everything`` is wanted. Symbolic links are
        listed, never followed.

        Raises:
            RepoError: a directory cannot be read, something vanished meanwhile, or the tree is larger or
                deeper than any sane repository.
        """
        found: list[RepoFile] = []
        with self._open_root() as root:
            self._walk(root, b"", 0, found, everything)
        found.sort(key=lambda file: file.path.split(b"/"))
        return tuple(found)

    def read(self, path: str, limit: int) -> bytes:
        """The bytes of the regular file at ``path`` (relative to the root), at most ``limit``.

        ``..`` and symbolic links are followed as long as they stay below the root.

        Raises:
            RepoError: nothing is there, it is not a regular file, it lies outside of the repository, it is
                larger than ``limit`` bytes, or it cannot be read.
        """
        with self._open_file(path) as handle:
            size = os.fstat(handle).st_size
            if size > limit:
                raise _too_large(path, limit)
            data = b"".join(self._chunks(handle, limit + 1, path))
        if len(data) > limit:
            raise _too_large(path, limit)
        return data

    def exists(self, path: str) -> bool:
        """Whether there is a file or directory at ``path``, inside of the repository."""
        try:
            self.check(path)
        except RepoError:
            return False
        return True

    def check(self, path: str) -> None:
        """Walk to the file or directory at ``path`` without opening it.

        Raises:
            RepoError: ``code`` is ``outside-repository`` when the path or a symbolic link on it leaves the
                repository, ``file-not-found`` when nothing is there, ``special-file`` for a FIFO, a socket
                or a device.
        """
        with self._locate(path) as (parent, name):
            try:
                mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
            except OSError as error:
                raise _io_error(path, error) from error
        if not stat.S_ISDIR(mode):
            _require_regular(path, mode)

    def open_content(self, path: bytes, *, size: int | None = None) -> Iterator[bytes]:
        """The bytes of the regular file at ``path`` (from :meth:`files`) in chunks, for packing.

        No symbolic link is followed, not even inside of the repository.

        Raises:
            RepoError: the file has vanished, is no longer a regular file, cannot be read, or does not have
                exactly ``size`` bytes (if given).
        """
        name = os.fsdecode(path)
        with self._open_file(name, follow=False) as handle:
            limit = os.fstat(handle).st_size if size is None else size
            done = 0
            # One byte more than expected, to see a file that grows while it is read.
            for chunk in self._chunks(handle, limit + 1, name):
                done += len(chunk)
                if done > limit:
                    raise _changed(name)
                yield chunk
            if done != limit:
                raise _changed(name)

    # Inside

    def _open_root(self) -> _Directory:
        return _Directory(self.root, None, ".")

    def _walk(
        self, directory: int, prefix: bytes, depth: int, found: list[RepoFile], everything: bool
    ) -> None:
        """Append the open ``directory`` (whose path is ``prefix``) and what is in it to ``found``."""
        try:
            with os.scandir(directory) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError as error:
            raise _io_error(os.fsdecode(prefix), error) from error
        if prefix:
            if _VIRTUAL_ENVIRONMENT in names and not everything:
                return
            found.append(RepoFile(prefix, "dir"))
        for name in names:
            if name in _LEFT_OUT and not everything:
                continue
            path = prefix + b"/" + os.fsencode(name) if prefix else os.fsencode(name)
            if len(found) >= _MAX_ENTRIES or depth >= _MAX_DEPTH:
                raise RepoError(
                    f"the repository has more than {_MAX_ENTRIES:,} files"
                    if depth < _MAX_DEPTH
                    else f"directories are nested more than {_MAX_DEPTH} deep",
                    code="repository-too-large",
                    file=printable(path),
                    remedy="move data out of the repository",
                )
            entry = self._entry(directory, name, path)
            if entry.kind != "dir":
                found.append(entry)
                continue
            try:
                child = _Directory(name, directory, os.fsdecode(path))
            except RepoError as error:
                raise error if error.code == "file-unreadable" else _changed(os.fsdecode(path)) from error
            with child as handle:
                self._walk(handle, path, depth + 1, found, everything)

    @staticmethod
    def _entry(directory: int, name: str, path: bytes) -> RepoFile:
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                return RepoFile(path, "file", status.st_size, bool(status.st_mode & 0o100))
            if stat.S_ISDIR(status.st_mode):
                return RepoFile(path, "dir")
            if stat.S_ISLNK(status.st_mode):
                target = os.fsencode(os.readlink(name, dir_fd=directory))
                return RepoFile(path, "symlink", target=target)
        except OSError as error:
            raise _changed(os.fsdecode(path)) from error
        return RepoFile(path, "other")

    @contextmanager
    def _open_file(self, path: str, *, follow: bool = True) -> Iterator[int]:
        with self._locate(path, follow=follow) as (parent, name):
            try:
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
                _require_regular(path, status.st_mode)
                handle = os.open(name, _OPEN_FILE, dir_fd=parent)
            except OSError as error:
                raise _io_error(path, error) from error
        try:
            _require_regular(path, os.fstat(handle).st_mode)
            yield handle
        finally:
            os.close(handle)

    @staticmethod
    def _chunks(handle: int, limit: int, path: str) -> Iterator[bytes]:
        """At most ``limit`` bytes of the open file."""
        try:
            while limit > 0 and (chunk := os.read(handle, min(_CHUNK, limit))):
                limit -= len(chunk)
                yield chunk
        except OSError as error:
            raise _io_error(path, error) from error

    @contextmanager
    def _locate(self, path: str, *, follow: bool = True) -> Iterator[tuple[int, str]]:
        """``(open parent directory, name)`` of what ``path`` leads to; the name is no symbolic link.

        With ``follow=False`` every symbolic link on the way is an error.
        """
        if not path or "\0" in path:
            raise RepoError("this is not a path", code="file-not-found", file=printable(path))
        with ExitStack() as stack:
            chain = [stack.enter_context(self._open_root())]
            todo = _components(path, path)
            links = 0
            while True:
                name = todo.pop()
                if name == "..":
                    if len(chain) == 1:
                        raise _outside(path)
                    chain.pop()
                    name = "."
                parent = chain[-1]
                try:
                    mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
                    target = os.readlink(name, dir_fd=parent) if stat.S_ISLNK(mode) else None
                except OSError as error:
                    raise _io_error(path, error) from error
                if target is not None:
                    links += 1
                    if not follow or links > _MAX_LINKS:
                        raise _io_error(path, OSError(errno.ELOOP, "too many symbolic links"))
                    todo += _components(target, path)
                elif not todo:
                    yield parent, name
                    return
                elif name != ".":
                    chain.append(stack.enter_context(_Directory(name, parent, path)))


class _Directory:
    """An open directory, for a ``with`` block."""

    def __init__(self, name: str | Path, parent: int | None, path: str) -> None:
        try:
            self._handle = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
        except OSError as error:
            raise _io_error(path, error) from error

    def __enter__(self) -> int:
        return self._handle

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


def _components(target: str, path: str) -> list[str]:
    """The components of ``target``, last one first."""
    if target.startswith("/"):
        # Even if it points back in: in an image, and on any other machine, the repository is elsewhere.
        raise _outside(path)
    return [part for part in reversed(target.split("/")) if part not in ("", ".")] or ["."]


def _require_regular(path: str, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        what, code = "a directory", "is-a-directory"
    else:
        what, code = "a FIFO, a socket or a device", "special-file"
    raise RepoError(
        f"this is {what}, not a file",
        code=code,
        file=printable(path),
        remedy="replace it with a regular file",
    )


def _outside(path: str) -> RepoError:
    return RepoError(
        "this leads out of the repository",
        code="outside-repository",
        file=printable(path),
        remedy="keep everything the environment needs inside of the repository",
    )


def _too_large(path: str, limit: int) -> RepoError:
    return RepoError(
        f"this file is larger than {limit / (1 << 20):g} MiB",
        code="file-too-large",
        file=printable(path),
        remedy="make it smaller (for a notebook: clear its outputs)",
    )


def _changed(path: str) -> RepoError:
    return RepoError(
        "this changed while it was read",
        code="changed-while-reading",
        file=printable(path),
        remedy="try again when nothing writes to the repository",
    )


def _io_error(path: str, error: OSError) -> RepoError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return RepoError("there is no such file", code="file-not-found", file=printable(path))
    if error.errno == errno.ELOOP:
        return RepoError("this is a loop of symbolic links", code="link-loop", file=printable(path))
    return RepoError(
        f"this cannot be read: {error.strerror}",
        code="file-unreadable",
        file=printable(path),
        remedy="check its permissions",
    )
