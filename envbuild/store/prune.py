"""Making the cache smaller without breaking what uses it.

Every envbuild process holds a shared lock on the cache (:func:`in_use`) while it works, which the kernel
releases however the process ends. Whoever can take that lock alone knows that all unfinished work belongs
to the dead.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import MachineError
from envbuild.store.images import StoredImage, contents, forget_images, stored_images
from envbuild.store.store import Store, disk_errors

__all__ = ["DEFAULT_AGE", "Pruned", "in_use", "prune", "usage"]

DEFAULT_AGE = 30 * 86400
# While another envbuild runs, nothing this young is removed: it may be about to use it.
_YOUNG = 86400
_BUCKET = re.compile(r"[a-z]+-v\d+")


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed: number of ``entries``, their ``size`` in bytes, names of forgotten ``images``.

    ``remaining`` is the size of the cache afterwards; ``busy`` tells that another envbuild was running.
    """

    entries: int
    size: int
    images: tuple[str, ...]
    remaining: int
    busy: bool


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    size: int
    used: float
    needed: bool


@contextmanager
def in_use(store: Store) -> Iterator[None]:
    """Hold the cache: while the block runs, no other process removes what it may be using.

    Whoever comes when nobody else is there, or goes as the last one, clears away what was left unfinished
    (by a process that was killed, for example).
    """
    handle = _open_lock(store)
    try:
        _clear_if_alone(store, handle)
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        _clear_if_alone(store, handle)
        os.close(handle)


def prune(
    store: Store,
    *,
    older_than: float = DEFAULT_AGE,
    max_size: int | None = None,
    everything: bool = False,
    now: float | None = None,
) -> Pruned:
    """Remove what no named image needs and nobody has used for a while.

    The caller must not hold :func:`in_use` itself.

    Parameters:
        older_than: seconds since the last use.
        max_size: bytes the cache may have; beyond it the least recently used goes first, whatever its age.
        everything: also what named images need, and the names.
        now: seconds since the epoch; the current time by default.

    Raises:
        MachineError: ``everything`` while another envbuild is running.
    """
    moment = time.time() if now is None else now
    handle = _open_lock(store)
    try:
        busy = not _alone(handle)
        if busy and everything:
            raise MachineError(
                "another envbuild is using the cache",
                code="cache-busy",
                remedy="end it first, or leave out --all",
            )
        forgotten = _forget(store, before=moment - older_than) if everything else ()
        removed = _remove_unneeded(
            store,
            age=max(older_than, _YOUNG) if busy else older_than,
            max_size=max_size,
            busy=busy,
            everything=everything,
            now=moment,
        )
    finally:
        os.close(handle)
    return Pruned(
        len(removed),
        sum(entry.size for entry in removed),
        tuple(image.name for image in forgotten),
        sum(usage(store).values()),
        busy,
    )


def usage(store: Store) -> dict[str, int]:
    """Bytes in each part of the cache directory: directory name -> size, sorted by name."""
    try:
        parts = sorted(path for path in store.root.iterdir() if path.is_dir() and not path.is_symlink())
    except FileNotFoundError:
        return {}
    return {path.name: _size(path, set()) for path in parts}


def _forget(store: Store, *, before: float) -> tuple[StoredImage, ...]:
    images = tuple(image for image in stored_images(store) if image.used.timestamp() <= before)
    forget_images(store, images)
    return images


def _remove_unneeded(
    store: Store, *, age: float, max_size: int | None, busy: bool, everything: bool, now: float
) -> list[_Entry]:
    entries = sorted(_entries(store, tools=everything), key=lambda entry: (entry.used, entry.path))
    unneeded = [entry for entry in entries if not entry.needed]
    if busy:
        # What runs may have been started long ago: its root file system is not for us to take away.
        unneeded = [entry for entry in unneeded if entry.path.parent != store.trees]
    doomed = [entry for entry in unneeded if now - entry.used >= age]
    doomed += _leftovers(store, busy=busy, now=now)
    if max_size is not None:
        excess = sum(usage(store).values()) - sum(entry.size for entry in doomed) - max_size
        for entry in unneeded:
            if excess <= 0:
                break
            if entry in doomed or (busy and now - entry.used < _YOUNG):
                continue
            doomed.append(entry)
            excess -= entry.size
    return [entry for entry in doomed if _remove(entry.path, store)]


def _entries(store: Store, *, tools: bool) -> Iterator[_Entry]:
    """What may be pruned. ``tools`` adds what is small, shared by all images and costly to make again."""
    needed: set[str] = set()
    for image in stored_images(store):
        parts = contents(store, image)
        if parts is not None:
            needed |= {blob.digest for blob in parts.blobs}
            needed.update(parts.diff_ids)

    def describes_needed(key: str) -> bool:
        record = store.action(key) or {}
        return record.get("digest") in needed or record.get("diff_id") in needed

    yield from _bucket(store.blobs, lambda name: f"sha256:{name}" in needed)
    yield from _bucket(store.actions, describes_needed)
    for directory in (store.artifacts, store.trees, store.checkouts, store.logs, store.places):
        yield from _bucket(directory, lambda name: False)
    if tools:
        for directory in (store.interpreters, store.debian, store.sources, store.uv, store.pip, store.tools):
            yield from _bucket(directory, lambda name: False)


def _bucket(directory: Path, needed: Callable[[str], bool]) -> Iterator[_Entry]:
    try:
        found = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in found:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        path = Path(entry.path)
        yield _Entry(path, _size(path, set()), max(status.st_atime, status.st_mtime), needed(entry.name))


def _leftovers(store: Store, *, busy: bool, now: float) -> list[_Entry]:
    """Unfinished work of processes that died, and buckets of other versions of envbuild."""
    found = [entry for entry in _bucket(store.tmp, lambda _: False) if not busy or now - entry.used >= _YOUNG]
    current = {directory.relative_to(store.root).parts[0] for directory in store.directories}
    if not busy:
        found += [
            _Entry(path, _size(path, set()), 0.0, False)
            for path in sorted(store.root.iterdir())
            if _BUCKET.fullmatch(path.name) and path.name not in current
        ]
    return found


def _remove(path: Path, store: Store) -> bool:
    """Remove ``path`` so that nobody ever sees a part of it; False when it was not ours to remove."""
    try:
        if not path.is_dir() or path.is_symlink():
            path.unlink()
            return True
        graveyard = Path(tempfile.mkdtemp(dir=store.tmp))
        path.rename(graveyard / "removed")
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EACCES, errno.EPERM):
            return False
        raise
    shutil.rmtree(graveyard, onerror=_make_writable)
    return True


def _make_writable(function: Callable[[str], object], name: str, _: object) -> None:
    """For :func:`shutil.rmtree`: packages ship directories that nobody may write to."""
    path = Path(name)
    path.parent.chmod(stat.S_IRWXU)
    if path.is_dir() and not path.is_symlink():
        path.chmod(stat.S_IRWXU)
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _size(path: Path, seen: set[int]) -> int:
    """Bytes below ``path``, following no links. ``seen`` are inodes that are counted already."""
    try:
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            return sum(_size(child, seen) for child in path.iterdir())
    except (FileNotFoundError, PermissionError):
        return 0
    if status.st_nlink > 1 and status.st_ino in seen:
        return 0
    seen.add(status.st_ino)
    return status.st_size


def _clear_if_alone(store: Store, handle: int) -> None:
    if _alone(handle):
        for entry in _bucket(store.tmp, lambda _: False):
            _remove(entry.path, store)


def _open_lock(store: Store) -> int:
    with disk_errors(store.root):
        return os.open(store.locks / "in-use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _alone(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
