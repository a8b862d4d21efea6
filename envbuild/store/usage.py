"""What is in the cache, how large it is and when it was used."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from envbuild.store.store import Store

__all__ = ["Entry", "Total", "look", "look_into", "usage"]

Inode = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or directory in one of the cache's parts.

    ``size`` are the bytes of files that have no other name, ``linked`` those of files that have, by inode.
    ``used`` is when it was last used, in seconds since the epoch: its modification time, which whoever uses
    it sets. (When it was read says nothing: some file systems do not note it, and looking is no use.)
    """

    path: Path
    size: int
    used: float
    linked: dict[Inode, int] = field(default_factory=dict)


class Total:
    """Bytes of several entries; a file that some have in common (by hard link) counts once."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.size = 0
        self._names: Counter[Inode] = Counter()
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Count ``entry``, too."""
        self.size += entry.size
        for inode, size in entry.linked.items():
            if not self._names[inode]:
                self.size += size
            self._names[inode] += 1

    def take(self, entry: Entry) -> None:
        """Count ``entry``, which was counted, no longer."""
        self.size -= entry.size
        for inode, size in entry.linked.items():
            self._names[inode] -= 1
            if not self._names[inode]:
                self.size -= size


def look(store: Store) -> dict[str, list[Entry]]:
    """Everything in the cache: name of the directory below the cache's own -> its entries.

    Those of the OCI layout are its files and its blobs.
    """
    try:
        parts = sorted(path for path in store.root.iterdir() if path.is_dir() and not path.is_symlink())
    except FileNotFoundError:
        return {}
    found = {path.name: list(look_into(path)) for path in parts}
    if store.layout.name in found:
        around = [entry for entry in found[store.layout.name] if entry.path != store.blobs.parent]
        found[store.layout.name] = [*around, *look_into(store.blobs)]
    return found


def look_into(directory: Path) -> Iterator[Entry]:
    """The entries of one directory, by name; none when there is no such directory, or it is closed to us."""
    for found in _scan(os.fspath(directory)):
        try:
            status = found.stat(follow_symlinks=False)
        except OSError:  # gone by now
            continue
        size, linked = 0, {}
        for one in [status, *(_below(found.path) if stat.S_ISDIR(status.st_mode) else ())]:
            if stat.S_ISDIR(one.st_mode):
                continue
            if one.st_nlink > 1:
                linked[one.st_dev, one.st_ino] = one.st_size
            else:
                size += one.st_size
        yield Entry(Path(found.path), size, status.st_mtime, linked)


def usage(store: Store) -> dict[str, int]:
    """Bytes in each part of the cache directory: directory name -> size, sorted by name."""
    return {name: Total(entries).size for name, entries in look(store).items()}


def _scan(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError:
        return []


def _below(directory: str) -> Iterator[os.stat_result]:
    """What is below ``directory``, following no links."""
    waiting = [directory]
    while waiting:
        for entry in _scan(waiting.pop()):
            try:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    yield entry.stat(follow_symlinks=False)
            except OSError:
                continue
