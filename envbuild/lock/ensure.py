"""The lock a build uses: the repository's own while it is fresh, else a new one that is kept."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import RepoError, UsageError
from envbuild.lock.conda.channels import remember_channels
from envbuild.lock.freshness import adopted_bytes, check
from envbuild.lock.lockfile import FILENAME, dump_lock, load_lock
from envbuild.lock.model import Lock
from envbuild.progress import Reporter
from envbuild.source import Repo
from envbuild.spec import Spec
from envbuild.spec.findings import refuse_errors
from envbuild.store import Store
from envbuild.store.disk import write_atomic

__all__ = ["LockFile", "ensure_lock", "keep_lock", "put_lock", "read_lock", "stale_reasons"]

_MOST_BYTES = 64_000_000
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True, slots=True)
class LockFile:
    """A lock and the bytes it is written as; ``path`` is None when the repository could not take it."""

    lock: Lock
    data: bytes
    path: Path | None


def read_lock(repo: Repo, store: Store) -> LockFile | None:
    """The lock that was kept for ``repo``, None when there is none.

    Raises:
        RepoError: there is something that is not a lock.
    """
    # A fetched repository's own lock was not fresh when another one was made for it.
    record = store.action(_key(repo))
    own = repo.exists(FILENAME) and (repo.origin is None or record is None)
    if own:
        data = repo.read(FILENAME, _MOST_BYTES)
        return LockFile(load_lock(data), data, None if repo.origin else repo.root / FILENAME)
    if record is None or not isinstance(record.get("lock"), str):
        return None
    data = record["lock"].encode()
    return LockFile(load_lock(data), data, None)


def stale_reasons(found: LockFile | None, spec: Spec, repo: Repo, platforms: Sequence[str]) -> list[str]:
    """Why ``found`` is not what ``spec`` asks for, sentences for people; empty when it is fresh.

    Parameters:
        platforms: those the lock must have.
    """
    if found is None:
        return [f"there is no {FILENAME}"]
    return check(found.lock, spec, adopted=adopted_bytes(spec, repo), platforms=platforms)


def ensure_lock(
    repo: Repo,
    spec: Spec,
    *,
    store: Store,
    platforms: Sequence[str],
    locked: bool,
    make: Callable[[Lock | None], Lock],
    reporter: Reporter,
) -> LockFile:
    """A fresh lock for ``repo``.

    Parameters:
        platforms: those the lock must have.
        locked: do not lock.
        make: locks anew, staying close to the lock it is given.

    Raises:
        RepoError: reading the repository found errors, its lock cannot be read, or ``locked`` and the lock
            is missing or stale.
    """
    refuse_errors(spec)
    if spec.conda is not None:
        remember_channels(store, spec.conda.channels)
    found = read_lock(repo, store)
    reasons = stale_reasons(found, spec, repo, platforms)
    if found is not None and not reasons:
        return found
    if locked:
        raise RepoError(
            "out of date" if found else "there is none",
            code="lock-stale" if found else "lock-missing",
            file=FILENAME,
            remedy="run `envbuild lock` and commit the result",
            detail="\n".join(reasons) if found else None,
        )
    if found is not None:
        reporter.note(f"{FILENAME} is out of date ({'; '.join(reasons)}): locking again, versions are kept")
    return keep_lock(repo, make(found.lock if found else None), store=store, reporter=reporter)


def keep_lock(repo: Repo, lock: Lock, *, store: Store, reporter: Reporter) -> LockFile:
    """Write ``lock`` into the repository; into the cache when it cannot be written or was fetched.

    Raises:
        RepoError: the lock's place is taken by something that is not a file.
    """
    data = dump_lock(lock)
    if repo.origin is not None:
        reporter.note(f"{repo.origin.url} is not ours to change: the lock is kept in the cache")
        store.put_action(_key(repo), {"lock": data.decode()})
        return LockFile(lock, data, None)
    try:
        path = _write(repo, data)
    except OSError as error:
        if error.errno not in _NOT_WRITABLE:
            raise
        reporter.note(f"the repository cannot be written: the lock is kept in the cache, not in {FILENAME}")
        store.put_action(_key(repo), {"lock": data.decode()})
        return LockFile(lock, data, None)
    return LockFile(lock, data, path)


def put_lock(repo: Repo, lock: Lock, data: bytes) -> LockFile:
    """Write ``data``, the text of ``lock``, into a repository that has no other lock.

    Raises:
        RepoError: it has another one, or the lock's place cannot be written.
        UsageError: the repository is a fetched one, which is not ours to change.
    """
    if repo.origin is not None:
        raise UsageError(
            f"{repo.origin.url} is not ours to change",
            code="source-not-ours",
            remedy="give a directory, or print the lock with --print",
        )
    if repo.exists(FILENAME) and repo.read(FILENAME, _MOST_BYTES) != data:
        raise RepoError(
            "there is another lock already",
            code="lock-differs",
            file=FILENAME,
            remedy="compare the two with `envbuild diff`, and remove the one that is there to replace it",
        )
    try:
        return LockFile(lock, data, _write(repo, data))
    except OSError as error:
        if error.errno not in _NOT_WRITABLE:
            raise
        raise RepoError(
            f"this cannot be written: {error.strerror}",
            code="lock-not-writable",
            file=FILENAME,
            remedy="print the lock with --print",
        ) from error


def _write(repo: Repo, data: bytes) -> Path:
    path = repo.root / FILENAME
    try:
        # A rename: a symbolic link of that name is replaced, not followed.
        write_atomic(path, data)
    except OSError as error:
        if error.errno == errno.EISDIR:
            raise RepoError(
                "this is a directory, so the lock cannot be written",
                code="lock-not-writable",
                file=FILENAME,
                remedy="move it out of the way",
            ) from error
        raise
    return path


def _key(repo: Repo) -> str:
    origin = repo.origin
    place = (
        bytes(repo.root)
        if origin is None
        else f"{origin.revision} {origin.subdirectory} of {origin.url}".encode()
    )
    return hashlib.sha256(b"lock of " + place).hexdigest()
