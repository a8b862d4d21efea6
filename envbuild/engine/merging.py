"""Several layers' trees as one, by hard links."""

# Names in layers are bytes, which pathlib does not take.
# ruff: noqa: PTH101, PTH102, PTH108, PTH115, PTH211

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from envbuild.engine.extraction import OPAQUE_ATTRIBUTE
from envbuild.store.directory import Files

__all__ = ["is_opaque", "merge"]

_HIDES = f"{OPAQUE_ATTRIBUTE.decode()}=y"  # as it is in lists

# There are none on this file system, or no more of this file, or it is another user's.
_NO_LINK = (errno.EPERM, errno.EACCES, errno.EMLINK, errno.EXDEV, errno.ENOTSUP, errno.ENOSYS)


def is_opaque(directory: bytes) -> bool:
    """Whether a directory of a tree hides what lower trees have in its place."""
    try:
        return os.getxattr(directory, OPAQUE_ATTRIBUTE, follow_symlinks=False) == b"y"
    except OSError:  # it has no such attribute, or the file system has none at all
        return False


def merge(layers: Iterable[tuple[Path, Files]], tree: Path) -> Files:
    """Make the empty directory ``tree`` hold all of ``layers``; returns the list of what is there then.

    Parameters:
        layers: directories, bottom to top, and what is in each of them.

    Raises:
        FileNotFoundError: a layer has less than its list says.
    """
    merged: Files = {}
    root = os.fsencode(tree)
    for layer, files in layers:
        for name in sorted(files):  # a directory comes before what is in it
            path = b"/" + name.encode("utf-8", "surrogateescape")
            if files[name][0] == "dir":
                _add_directory(files[name], name, root + path, merged)
            else:
                _add_file(os.fsencode(layer) + path, name, root + path, merged)
                merged[name] = files[name]
    return merged


def _add_directory(new: list[Any], name: str, path: bytes, merged: Files) -> None:
    _, mode, *attributes = new
    old = merged.get(name)
    if old is not None and old[0] == "dir" and _HIDES not in attributes:
        attributes = old[2:]
    else:
        if old is not None:
            # What hides lower trees' files goes on doing so.
            attributes = attributes if old[0] == "dir" else [_HIDES]
            _remove(name, path, merged)
        os.mkdir(path)
        if attributes:
            os.setxattr(path, OPAQUE_ATTRIBUTE, b"y")
    os.chmod(path, mode)
    merged[name] = ["dir", mode, *attributes]


def _add_file(source: bytes, name: str, path: bytes, merged: Files) -> None:
    if name in merged:
        _remove(name, path, merged)
    try:
        os.link(source, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        _copy(source, path)


def _copy(source: bytes, path: bytes) -> None:
    status = os.lstat(source)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), path)
    elif stat.S_ISREG(status.st_mode):
        shutil.copyfile(source, path)
        os.chmod(path, stat.S_IMODE(status.st_mode))
    else:
        os.mknod(path, stat.S_IFMT(status.st_mode), status.st_rdev)


def _remove(name: str, path: bytes, merged: Files) -> None:
    if merged[name][0] != "dir":
        os.unlink(path)
        return
    shutil.rmtree(path)
    for below in [other for other in merged if other.startswith(name + "/")]:
        del merged[below]
