"""Reading everything in the cache: is it what its name, or its list, says?

Whoever uses a thing in a way that could show in an image checks it at that time. This is for the rest, and
for whoever wants to know before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from envbuild.progress import Reporter
from envbuild.store.directory import difference
from envbuild.store.disk import disk_errors, remove_whole
from envbuild.store.images import contents, stored_images
from envbuild.store.locks import is_alone, open_lock
from envbuild.store.record import decode
from envbuild.store.store import Store, file_digest
from envbuild.store.usage import Entry, Total, look_into

__all__ = ["Damage", "Verified", "verify"]

_HEX = re.compile(r"[0-9a-f]{64}")
_HELD_OPEN = ".nfs"  # what network file systems call a removed file that somebody has open

# What is wrong with a file or directory of the cache, in words; None when nothing is.
_Check = Callable[[Path], str | None]


@dataclass(frozen=True, slots=True, order=True)
class Damage:
    """Something that is not what it should be.

    ``part`` is its directory in the cache, ``problem`` says what is wrong, ``images`` are the names of those
    that need it. ``removed`` is false when it stays: nobody wanted it removed, or it is in use.
    """

    part: str
    name: str
    problem: str
    size: int
    images: tuple[str, ...]
    removed: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """How many ``entries`` were read, with how many bytes, and the ``damage`` by part and name."""

    entries: int
    size: int
    damage: tuple[Damage, ...]


def verify(store: Store, reporter: Reporter, *, remove: bool = True) -> Verified:
    """Read everything that can be checked, and remove what is damaged, so that it is made anew.

    The caches of other tools (uv, pip, conda) are theirs to check. Files of a running container stay.

    Parameters:
        remove: false to leave everything as it is.
    """
    # Before anything goes, as a damaged manifest does not say what it needs.
    needed_by = _needed_by(store)
    todo = list(_checks(store))
    with (
        reporter.stage("verify") as stage,
        ThreadPoolExecutor(max_workers=os.cpu_count()) as pool,
    ):
        stage.add_total(sum(_bytes(entry) for entry, _ in todo))

        def look(item: tuple[Entry, _Check]) -> tuple[Entry, str | None]:
            entry, check = item
            problem = _problem(entry.path, check)
            stage.advance(_bytes(entry))
            return entry, problem

        found = [(entry, problem) for entry, problem in pool.map(look, todo) if problem is not None]
    removable = _Removable(store) if remove else None
    damage = [
        Damage(
            entry.path.relative_to(store.root).parts[0],
            entry.path.name,
            problem,
            _bytes(entry),
            needed_by.get(f"sha256:{entry.path.name}", ()) if entry.path.parent == store.blobs else (),
            removable is not None and removable.remove(entry.path),
        )
        for entry, problem in found
    ]
    return Verified(len(todo), Total(entry for entry, _ in todo).size, tuple(sorted(damage)))


class _Removable:
    """Removes what is damaged, unless it may be a running container's."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def remove(self, path: Path) -> bool:
        if path.parent != self._store.trees:
            return remove_whole(path, self._store.tmp)
        lock = self._store.locks / "in-use"
        with disk_errors(self._store.root):
            handle = open_lock(lock)
        try:
            return is_alone(handle, lock) and remove_whole(path, self._store.tmp)
        finally:
            os.close(handle)


def _checks(store: Store) -> Iterator[tuple[Entry, _Check]]:
    """Everything that can be checked, and how."""
    inodes: dict[tuple[int, int], str] = {}
    named = (store.blobs, store.artifacts)
    recorded = (store.actions, store.images, store.sources, store.places)
    listed = (store.interpreters, store.tools, store.checkouts, store.trees)
    for directories, check in (
        (named, _is_named_by_digest),
        (recorded, _is_record),
        (listed, partial(difference, known=inodes)),
    ):
        for directory in directories:
            for entry in look_into(directory):
                if not entry.path.name.startswith(_HELD_OPEN):
                    yield entry, check
    for entry in look_into(store.debian):
        if entry.path.suffix == ".json":
            yield entry, _is_record
        elif entry.path.suffix == ".xz":
            yield entry, _is_named_by_digest


def _problem(path: Path, check: _Check) -> str | None:
    try:
        problem = check(path)
    except OSError as error:
        problem = f"it cannot be read: {error.strerror}"
    # What others have removed meanwhile is not damaged.
    return problem if problem is not None and os.path.lexists(path) else None


def _is_named_by_digest(path: Path) -> str | None:
    if not _HEX.fullmatch(path.stem):
        return "its name is no digest"
    found = file_digest(path)
    return None if found == path.stem else f"its content is sha256:{found}"


def _is_record(path: Path) -> str | None:
    try:
        decode(path.name, path.read_bytes())
    except ValueError:
        return "it is not the record that was written"
    return None


def _needed_by(store: Store) -> dict[str, tuple[str, ...]]:
    """Digest of a blob -> names of the images that need it."""
    found: dict[str, list[str]] = {}
    for image in stored_images(store, mend=False):
        parts = contents(store, image)
        for digest in {blob.digest for blob in parts.blobs} if parts else {image.manifest.digest}:
            found.setdefault(digest, []).append(image.name)
    return {digest: tuple(sorted(set(names))) for digest, names in found.items()}


def _bytes(entry: Entry) -> int:
    return entry.size + sum(entry.linked.values())
