"""Making the cache smaller without breaking what uses it.

Every envbuild process holds a shared lock on the cache (:func:`in_use`) while it works, which the kernel
releases however the process ends. Whoever can take that lock alone knows that all unfinished work of this
machine belongs to the dead.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from envbuild.errors import MachineError
from envbuild.store.disk import MACHINE, disk_errors, remove_whole, touch
from envbuild.store.images import StoredImage, forget_images, stored_images
from envbuild.store.locks import is_alone, open_lock, wait_for
from envbuild.store.sharing import needed_digests
from envbuild.store.store import Store
from envbuild.store.usage import Entry, Total, look, look_into

__all__ = ["DEFAULT_AGE", "Pruned", "in_use", "prune"]

_DAY: Final = 86400
DEFAULT_AGE: Final = 30 * _DAY
# While another envbuild runs, nothing this young is removed: it may be about to use it. Unfinished work of
# other machines is spared as long, because their locks may not be seen here.
_YOUNG: Final = _DAY
# Nobody having used the cache for so long is less likely than a clock that is wrong.
_DOUBTFUL: Final = 365 * _DAY
_BUCKET = re.compile(r"[a-z]+-v\d+")


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed: number of ``entries``, their ``size`` in bytes, names of forgotten ``images``.

    ``remaining`` is the size of the cache afterwards. ``busy`` tells that another envbuild was running.
    ``foreign`` counts what another user would have to remove, ``future`` what was used at a time that is yet
    to come by this machine's clock, and was therefore spared.
    """

    entries: int
    size: int
    images: tuple[str, ...]
    remaining: int
    busy: bool
    foreign: int = 0
    future: int = 0


@contextmanager
def in_use(store: Store) -> Iterator[None]:
    """Hold the cache: while the block runs, no other process removes what it may be using.

    Whoever comes when nobody else is there, or goes as the last one, clears away what was left unfinished
    (by a process that was killed, for example).
    """
    path = store.locks / "in-use"
    with disk_errors(store.root):
        handle = open_lock(path)
    try:
        touch(path)
        _clear_if_alone(store, handle)
        wait_for(handle, shared=True)
        yield
    finally:
        _clear_if_alone(store, handle)
        os.close(handle)


def prune(
    store: Store,
    *,
    older_than: float | None = None,
    max_size: int | None = None,
    everything: bool = False,
    dry_run: bool = False,
    now: float | None = None,
) -> Pruned:
    """Remove what no named image needs and nobody has used for a while.

    The caller must not hold :func:`in_use` itself.

    Parameters:
        older_than: seconds since the last use; :data:`DEFAULT_AGE` when nobody said.
        max_size: bytes the cache may have; beyond it the least recently used goes first, whatever its age.
        everything: also what named images need, and the names.
        dry_run: remove nothing, only tell.
        now: seconds since the epoch; the current time by default.

    Raises:
        MachineError: ``everything`` while another envbuild is running; or nobody said how old, and by this
            machine's clock the cache was not used for so long that the clock is more likely to be wrong.
    """
    moment = time.time() if now is None else now
    path = store.locks / "in-use"
    with disk_errors(store.root):
        handle = open_lock(path)
    try:
        if older_than is None:
            _check_clock(path, moment)
        busy = not is_alone(handle, path)
        if busy and everything:
            raise MachineError(
                "another envbuild is using the cache",
                code="cache-busy",
                remedy="end it first, or leave out --all",
            )
        age = DEFAULT_AGE if older_than is None else older_than
        images = stored_images(store)
        forgotten = [one for one in images if everything and one.used.timestamp() <= moment - age]
        kept = [image for image in images if image not in forgotten]
        pruning = _Pruning(store, kept, everything=everything, busy=busy, now=moment)
        doomed = pruning.choose(max(age, _YOUNG) if busy else age, max_size)
        before = pruning.total.size
        if not dry_run:
            forget_images(store, forgotten)
        removed = pruning.remove(doomed, dry_run=dry_run)
    finally:
        os.close(handle)
    return Pruned(
        removed,
        before - pruning.total.size,
        tuple(image.name for image in forgotten),
        pruning.total.size,
        busy,
        foreign=pruning.foreign,
        future=pruning.future,
    )


class _Pruning:
    """The cache as it is when pruning begins."""

    def __init__(
        self, store: Store, images: Iterable[StoredImage], *, everything: bool, busy: bool, now: float
    ) -> None:
        self._store = store
        self._busy = busy
        self._now = now
        self._parts = look(store)
        self.total = self._all()
        self.future = 0
        self.foreign = 0
        found = self._find(needed_digests(store, images), everything)
        self._unneeded = sorted(found, key=lambda entry: (entry.used, entry.path))

    def _all(self) -> Total:
        return Total(entry for entries in self._parts.values() for entry in entries)

    def choose(self, age: float, max_size: int | None) -> list[Entry]:
        """What is to go: what was not used for ``age`` seconds, and more until the rest has ``max_size``."""
        doomed = [entry for entry in self._unneeded if self._now - entry.used >= age]
        chosen = {entry.path for entry in doomed}
        doomed += [entry for entry in self._leftovers() if entry.path not in chosen]
        if max_size is None:
            return doomed
        left = self._all()
        for entry in doomed:
            left.take(entry)
        for entry in self._unneeded:
            if left.size <= max_size:
                break
            if entry.path in chosen or (self._busy and self._now - entry.used < _YOUNG):
                continue
            doomed.append(entry)
            left.take(entry)
        return doomed

    def remove(self, doomed: Iterable[Entry], *, dry_run: bool) -> int:
        """Remove what is doomed, was not used since we looked, and is ours to remove; how many that are."""
        removed = 0
        for entry in doomed:
            if not dry_run:
                try:
                    if entry.path.lstat().st_mtime > max(entry.used, self._now):
                        continue
                except OSError:
                    continue
                if not remove_whole(entry.path, self._store.tmp):
                    self.foreign += 1
                    continue
            self.total.take(entry)
            removed += 1
        return removed

    def _find(self, needed: Container[str], everything: bool) -> Iterator[Entry]:
        """What is not ``needed``; with ``everything``, also what is costly to make again."""
        store = self._store

        def is_needed(name: str) -> bool:
            return f"sha256:{name}" in needed

        def describes_needed(key: str) -> bool:
            record = store.record(store.actions / key)
            return isinstance(record, dict) and (
                record.get("digest") in needed or record.get("diff_id") in needed
            )

        yield from self._of(store.blobs, is_needed)
        yield from self._of(store.places, is_needed)
        yield from self._of(store.actions, describes_needed)
        directories = [store.artifacts, store.checkouts, store.logs, store.sessions]
        if not self._busy:
            # What runs may have been started long ago: its root file system is not for us to take away.
            directories.append(store.trees)
        if everything:
            directories += (store.interpreters, store.debian, store.sources, store.tools)
            directories += (store.uv, store.pip, store.conda)
        for directory in directories:
            yield from self._of(directory, lambda name: False)

    def _of(self, directory: Path, is_needed: Callable[[str], bool]) -> Iterator[Entry]:
        part = directory.relative_to(self._store.root).parts[0]
        for entry in self._parts.get(part, ()):
            if entry.path.parent != directory or is_needed(entry.path.name):
                continue
            if entry.used > self._now + _DAY:
                self.future += 1
                entry = Entry(entry.path, entry.size, self._now, entry.linked)
            yield entry

    def _leftovers(self) -> Iterator[Entry]:
        """Unfinished work of processes that died, and buckets of other versions of envbuild."""
        for entry in self._parts.get(self._store.tmp.name, ()):
            if _is_dead(entry, alone=not self._busy, now=self._now):
                yield entry
        current = {directory.relative_to(self._store.root).parts[0] for directory in self._store.directories}
        for name, entries in self._parts.items():
            if not self._busy and _BUCKET.fullmatch(name) and name not in current:
                linked = {inode: size for entry in entries for inode, size in entry.linked.items()}
                size = sum(entry.size for entry in entries)
                yield Entry(self._store.root / name, size, self._now, linked)


def _check_clock(lock: Path, now: float) -> None:
    unused = now - lock.stat().st_mtime
    if unused > _DOUBTFUL:
        raise MachineError(
            f"nobody has used the cache for {unused / _DOUBTFUL:.0f} years, if it is"
            f" {time.strftime('%Y-%m-%d', time.gmtime(now))}: the clock may be wrong",
            code="clock-doubtful",
            remedy="correct the clock; if it is right, say how old what goes must be: --older-than 30d",
        )


def _is_dead(entry: Entry, *, alone: bool, now: float) -> bool:
    """Whether unfinished work is nobody's any more; ``alone``: no other process of this machine works."""
    return (alone and entry.path.name.startswith(MACHINE)) or now - entry.used >= _YOUNG


def _clear_if_alone(store: Store, handle: int) -> None:
    if is_alone(handle, store.locks / "in-use"):
        now = time.time()
        for entry in look_into(store.tmp):
            if _is_dead(entry, alone=True, now=now):
                remove_whole(entry.path, store.tmp)
