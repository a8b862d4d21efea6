"""Files in trees that foreign code wrote, or that layers became: looked at without following a link."""

# Names are bytes, which pathlib does not take.
# ruff: noqa: PTH115, PTH208

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from envbuild.engine.trees import is_opaque, is_whiteout

__all__ = ["Found", "Lower", "examine"]

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a container: ``size`` and ``executable`` of a regular one, ``target`` of a symbolic link.

    ``place`` is where this machine has the content.
    """

    kind: Literal["file", "dir", "symlink"]
    size: int = 0
    executable: bool = False
    target: bytes = b""
    place: bytes = b""

    def chunks(self) -> Iterator[bytes]:
        """The content, in order."""
        handle = os.open(self.place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk

    def same_as(self, other: Found) -> bool:
        """Whether the layers that hold the two would not differ."""
        alike = (self.kind, self.size, self.executable, self.target) == (
            other.kind,
            other.size,
            other.executable,
            other.target,
        )
        if not alike or self.kind != "file":
            return alike
        return all(mine == theirs for mine, theirs in zip_longest(self.chunks(), other.chunks()))


def examine(path: bytes, status: os.stat_result) -> Found | None:
    """What is at ``path``; None when it is nothing that a layer can hold.

    Parameters:
        status: what ``lstat`` says about it.
    """
    if stat.S_ISDIR(status.st_mode):
        return Found("dir")
    if stat.S_ISLNK(status.st_mode):
        return Found("symlink", target=os.readlink(path))
    if stat.S_ISREG(status.st_mode):
        return Found("file", status.st_size, bool(status.st_mode & 0o111), place=path)
    return None


class Lower:
    """The files of an image, from its trees (:mod:`envbuild.engine.trees`).

    Parameters:
        trees: bottom to top.
    """

    def __init__(self, trees: Sequence[Path]) -> None:
        self._directories: dict[bytes, tuple[bytes, ...]] = {b"": tuple(os.fsencode(t) for t in trees[::-1])}

    def get(self, path: bytes) -> Found | None:
        """What the image has at ``path``; symbolic links on the way are not followed."""
        parent, _, name = path.rpartition(b"/")
        for directory in self._merged(parent):
            try:
                status = os.lstat(directory + b"/" + name)
            except FileNotFoundError:
                continue
            return None if is_whiteout(status) else examine(directory + b"/" + name, status)
        return None

    def names(self, path: bytes) -> list[bytes]:
        """The names in the directory ``path``, sorted; none when it is not one."""
        names = {name for directory in self._merged(path) for name in os.listdir(directory)}
        return sorted(name for name in names if self.get(path + b"/" + name if path else name) is not None)

    def places(self, path: bytes) -> tuple[bytes, ...]:
        """The directories of this machine, bottom to top, that are the image's directory ``path``."""
        return self._merged(path)[::-1]

    def _merged(self, path: bytes) -> tuple[bytes, ...]:
        """Like :meth:`places`, top to bottom."""
        known = self._directories.get(path)
        if known is None:
            parent, _, name = path.rpartition(b"/")
            known = tuple(_layers_of(name, self._merged(parent)))
            self._directories[path] = known
        return known


def _layers_of(name: bytes, parents: Sequence[bytes]) -> Iterator[bytes]:
    for parent in parents:
        place = parent + b"/" + name
        try:
            status = os.lstat(place)
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            return  # a whiteout, or something else that hides what is below
        yield place
        if is_opaque(place):
            return
