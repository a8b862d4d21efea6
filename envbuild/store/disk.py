"""Files that are whole or not there, and what the disk refuses, in words."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from envbuild.errors import MachineError

__all__ = ["MACHINE", "disk_errors", "remove_whole", "space_errors", "touch", "write_atomic"]

# What unfinished work of this machine begins with: the locks that protect it may not reach to other ones.
MACHINE = re.sub(r"[^A-Za-z0-9-]", "", os.uname().nodename)[:40] + "."

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
_FAILED = (errno.EIO, errno.ESTALE)
# Not there, not ours, on another device (also: in an image of a container, below what it may change), or
# held open by somebody on a network file system.
_NOT_REMOVABLE = (errno.ENOENT, errno.EBUSY, errno.ENOTEMPTY, errno.ESTALE, *_REFUSED)


@contextmanager
def space_errors(path: Path) -> Iterator[None]:
    """Turn a disk that is full, or cannot take what is written, into an error with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise MachineError(
                f"no space left on the disk that holds {path}",
                code="disk-full",
                remedy="free some space; the cache can be pruned (`envbuild cache prune`) or be on another"
                " disk (ENVBUILD_CACHE_DIR)",
            ) from error
        if error.errno == errno.EFBIG:
            raise MachineError(
                f"a file is larger than what the disk that holds {path}, or a limit of this process, takes",
                code="file-too-large",
                remedy="raise the limit (`ulimit -f`), or have the cache on another disk"
                " (ENVBUILD_CACHE_DIR)",
            ) from error
        if error.errno == errno.EXDEV:
            raise MachineError(
                f"parts of the cache directory {path} are on different file systems",
                code="cache-split",
                remedy="have all of it on one: move it and set ENVBUILD_CACHE_DIR",
            ) from error
        raise


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the disk's refusals into errors with a remedy; ``path`` is the cache directory."""
    try:
        with space_errors(path):
            yield
    except OSError as error:
        if error.errno in _REFUSED:
            raise MachineError(
                f"the cache directory {path} cannot be written: {error.strerror}{_owned(error.filename)}",
                code="cache-not-writable",
                remedy="set ENVBUILD_CACHE_DIR to a directory you own",
            ) from error
        if error.errno in _FAILED:
            raise MachineError(
                f"the disk that holds {path} failed: {error.strerror}",
                code="disk-failed",
                remedy="try again; if it fails again, check the disk, or use another (ENVBUILD_CACHE_DIR)",
            ) from error
        raise


def _owned(name: object) -> str:
    """Whose the file that was refused is, when it is somebody else's: a `sudo` in the past, mostly."""
    path = Path(os.fsdecode(name)) if isinstance(name, str | bytes) else None
    while path is not None and path != path.parent:
        with suppress(OSError):
            if path.stat().st_uid != os.geteuid():
                return f" ({path} belongs to {path.owner()})"
            return ""
        path = path.parent
    return ""


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644, scratch: Path | None = None) -> None:
    """Write ``data`` to ``path`` so that readers see the old file or the new one, never a part.

    Parameters:
        scratch: a directory of the same file system for the unfinished file; else it is beside ``path``.

    Raises:
        MachineError: the disk is full.
        OSError: as the file system reports it.
    """
    with space_errors(path.parent):
        if scratch is None:
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        else:
            handle, name = tempfile.mkstemp(prefix=MACHINE, dir=scratch)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            Path(name).chmod(mode)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def touch(path: Path) -> None:
    """Note that ``path`` was used now; nothing happens when it is not ours to note that on."""
    with suppress(OSError):
        os.utime(path)


def remove_whole(path: Path, scratch: Path) -> bool:
    """Remove a file or a directory; nobody ever sees a part of it.

    Parameters:
        scratch: a directory of the same file system to remove it in.

    Returns:
        False when it stays: it is gone already, somebody else's, or held open by another machine.
    """
    try:
        if not path.is_dir() or path.is_symlink():
            path.unlink()
            return True
        graveyard = Path(tempfile.mkdtemp(prefix=MACHINE, dir=scratch))
        try:
            path.rename(graveyard / "removed")
        except OSError:
            graveyard.rmdir()
            raise
    except OSError as error:
        if error.errno in _NOT_REMOVABLE:
            return False
        if error.errno != errno.EXDEV:
            raise
        # A directory that came with a container's image cannot be moved, but its files can be removed: first
        # those at its top, which say that it is whole.
        graveyard = path
        for inside in path.iterdir():
            if not inside.is_dir() or inside.is_symlink():
                inside.unlink(missing_ok=True)
    shutil.rmtree(graveyard, onerror=_make_writable)
    return True


def _make_writable(function: object, name: str, _: object) -> None:
    """For :func:`shutil.rmtree`: packages ship directories that nobody may write to."""
    path = Path(name)
    with suppress(OSError):
        path.parent.chmod(stat.S_IRWXU)
        if path.is_dir() and not path.is_symlink():
            path.chmod(stat.S_IRWXU)
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
