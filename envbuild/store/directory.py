"""Directories in the cache: whole or not there, and with a list of what belongs into them.

::

    <part>/<name>/tree     the files
    <part>/<name>/list     a record of every file: kind, mode, size, sha256
    <part>/<name>/about    a record of what its maker says about it; where it is, the directory is whole
    <part>/<name>/boot     until the files are known to be on the disk: which boot they were written in

Whose files end in an image checks them against the list before (:func:`checked_directory`). What only runs is
looked at (:func:`has_directory`), and checked once when the machine was started anew since it was written: a
machine that loses power may have kept names of files without their content.
"""

# Names are bytes, which pathlib does not take.
# ruff: noqa: PTH115, PTH123

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from envbuild.store.disk import remove_whole, touch
from envbuild.store.record import decode, encode
from envbuild.store.store import Store

__all__ = [
    "Files",
    "checked_directory",
    "describe",
    "difference",
    "has_directory",
    "keep_directory",
    "list_files",
    "listed_files",
    "make_directory",
    "path_text",
]

# Path (see path_text) -> kind and what else there is to know, as JSON.
Files = dict[str, list[Any]]

_CHUNK = 1 << 20
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def has_directory(store: Store, place: Path) -> bool:
    """Whether a whole directory is kept at ``place``."""
    if not (place / "about").exists():
        return False
    try:
        written = (place / "boot").read_text()
    except OSError:
        return True
    return written == _boot() or checked_directory(store, place) is not None


def checked_directory(store: Store, place: Path) -> dict[str, Any] | None:
    """What is known about the directory at ``place``; None when there is none, also after damage was found.

    A process checks a directory once.

    Raises:
        MachineError: it is damaged, and not ours to remove.
    """
    if place in store.checked:
        touch(place)
        return store.checked[place]
    if not (place / "about").exists():
        if place.exists():
            remove_whole(place, store.tmp)  # an unfinished removal
        return None
    problem = difference(place, {})
    if problem is not None:
        store.remove_damaged(place, f"{place.parent.name}/{place.name} ({problem})")
        return None
    touch(place)
    with suppress(OSError):  # another user's
        (place / "boot").unlink()
    about: dict[str, Any] = decode("about", (place / "about").read_bytes())
    store.checked[place] = about
    return about


def make_directory(
    store: Store, place: Path, make: Callable[[Path], Mapping[str, Any] | None]
) -> dict[str, Any]:
    """Make the directory at ``place``, unless somebody is faster.

    Parameters:
        make: fills the empty directory it is given, and may say something about it (JSON).
    """
    with store.temporary_directory() as scratch:
        tree = scratch / "tree"
        tree.mkdir(mode=0o755)
        about = dict(make(tree) or {})
        tree.chmod(0o755)  # it may have been put there in one piece
        keep_directory(store, place, scratch, list_files(tree), about)
    store.checked[place] = about
    return about


def keep_directory(
    store: Store, place: Path, scratch: Path, files: Files, about: Mapping[str, Any] | None = None
) -> None:
    """Move a finished directory into its place.

    Parameters:
        scratch: has the files below ``tree``; it is what is moved.
    """
    (scratch / "list").write_bytes(encode("list", files))
    (scratch / "about").write_bytes(encode("about", about or {}))
    boot = _boot()
    if boot:
        (scratch / "boot").write_text(boot)
    scratch.chmod(0o755)
    while True:
        try:
            scratch.rename(place)
        except OSError:
            if not place.exists():
                raise
            if (place / "about").exists():
                return  # somebody was faster; it is as good
            store.damaged(place, f"{place.parent.name}/{place.name}")
        else:
            return


def listed_files(place: Path) -> Files | None:
    """The list of the directory at ``place``; None when it has none that can be read."""
    try:
        files: Files = decode("list", (place / "list").read_bytes())
    except (OSError, ValueError):
        return None
    return files


def difference(place: Path, known: dict[tuple[int, int], str]) -> str | None:
    """The first thing at ``place`` that is not as it was written, in words; None when there is nothing.

    Parameters:
        known: digests of files that were read, by inode, for whoever looks at several directories.
    """
    try:
        decode("about", (place / "about").read_bytes())
    except (OSError, ValueError):
        return "about it"
    files = listed_files(place)
    if files is None:
        return "its list"
    try:
        for path, found in _walk(place / "tree", known):
            if files.pop(path, None) != found:
                return path
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return next(iter(files), None)


def path_text(path: bytes) -> str:
    """How a path is written in lists, whatever this machine's language settings are."""
    return path.decode("utf-8", "surrogateescape")


def list_files(tree: Path) -> Files:
    """All that is below ``tree``."""
    return dict(_walk(tree, {}))


def describe(path: bytes, status: os.stat_result, digest: str) -> list[Any]:
    """One file as it is in a list; ``digest`` is the sha256 of its content, if it has content."""
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISREG(status.st_mode):
        return ["file", mode, status.st_size, digest]
    if stat.S_ISDIR(status.st_mode):
        return ["dir", mode, *_attributes(path)]
    if stat.S_ISLNK(status.st_mode):
        return ["symlink", path_text(os.readlink(path))]
    return ["other", stat.S_IFMT(status.st_mode), status.st_rdev]


def _walk(tree: Path, known: dict[tuple[int, int], str]) -> Iterator[tuple[str, list[Any]]]:
    root = os.fsencode(tree)
    waiting = [b""]
    while waiting:
        directory = waiting.pop()
        with os.scandir(root + b"/" + directory) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = directory + entry.name
                status = entry.stat(follow_symlinks=False)
                digest = ""
                if stat.S_ISREG(status.st_mode):
                    inode = (status.st_dev, status.st_ino)
                    digest = known.get(inode) or known.setdefault(inode, _sha256(entry.path))
                elif stat.S_ISDIR(status.st_mode):
                    waiting.append(path + b"/")
                yield path_text(path), describe(entry.path, status, digest)


def _sha256(path: bytes) -> str:
    with open(path, "rb", buffering=0) as stream:
        hashed = hashlib.sha256()
        while data := stream.read(_CHUNK):
            hashed.update(data)
    return hashed.hexdigest()


def _attributes(path: bytes) -> list[str]:
    """A directory's extended attributes that users can set: overlayfs reads them."""
    try:
        names = sorted(os.listxattr(path, follow_symlinks=False))
    except OSError:  # the file system has none
        return []
    return [
        f"{name}={os.getxattr(path, name, follow_symlinks=False).decode('latin-1')}"
        for name in names
        if name.startswith("user.")
    ]


def _boot() -> str:
    try:
        return _BOOT.read_text()
    except OSError:
        return ""
