"""Locks that work, that are missing, and that only pretend."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
from pathlib import Path

import pytest

from envbuild.errors import MachineError
from envbuild.store import Store, locks
from envbuild.store.disk import MACHINE
from envbuild.store.prune import in_use, prune


def _no_locks(number: int):
    def flock(handle: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    return flock


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EINVAL])
def test_without_locks_work_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(fcntl, "flock", _no_locks(number))

    with in_use(store), store.lock("work"):
        blob = store.put_blob(b"content")

    assert store.has_blob(blob.digest, 7)


@pytest.mark.parametrize("pretend", [True, False])
def test_who_cannot_know_whether_it_is_alone_is_not(
    store: Store, monkeypatch: pytest.MonkeyPatch, pretend: bool
) -> None:
    """Otherwise it would take away what others are working on."""
    half = store.tmp / f"{MACHINE}of another process"
    half.write_bytes(b"half")
    monkeypatch.setattr(fcntl, "flock", (lambda *_: None) if pretend else _no_locks(errno.ENOLCK))

    with in_use(store):
        pass

    assert (True, True) == (half.exists(), prune(store, older_than=0).busy)


def test_unfinished_work_of_another_machine_stays_for_a_day(store: Store) -> None:
    """Its locks may not reach here; when it is old, it is nobody's."""
    young, old = store.tmp / "other-host.young", store.tmp / "other-host.old"
    for path in (young, old):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))

    with in_use(store):
        pass

    assert (True, False) == (young.exists(), old.exists())


def test_a_lock_file_of_another_user_is_enough_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    path.write_bytes(b"")
    real = os.open

    def refuse(name: os.PathLike[str], flags: int, *rest: int) -> int:
        if flags & (os.O_RDWR | os.O_CREAT):
            raise PermissionError(errno.EACCES, "Permission denied", str(name))
        return real(name, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    handle = locks.open_lock(path)

    assert (True, True) == (locks.wait_for(handle), locks.is_alone(handle, path))
    os.close(handle)


def test_whoever_has_it_too_long_is_not_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process, or a machine that is gone."""
    monkeypatch.setitem(locks.wait_for.__kwdefaults__, "patience", 0.05)
    done: list[str] = []

    def work() -> None:
        with store.lock("work"):
            done.append("second")

    with store.lock("work"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(300)
        done.append("first")

    assert ["second", "first"] == done


def test_sharing_lets_others_share(store: Store) -> None:
    path = store.locks / "x"
    one, two = locks.open_lock(path), locks.open_lock(path)

    assert (True, True, False) == (
        locks.wait_for(one, shared=True),
        locks.wait_for(two, shared=True),
        locks.is_alone(one, path),
    )
    os.close(one)
    os.close(two)


@pytest.mark.parametrize("anew", [False, True])
def test_whoever_uses_a_cache_that_is_deleted_ends_as_usual(store: Store, anew: bool) -> None:
    """What others have made anew in its place is theirs."""
    theirs = store.tmp / f"{MACHINE}of another process"

    with in_use(store):
        shutil.rmtree(store.root)
        if anew:
            store.prepare()
            theirs.write_bytes(b"half")
            handle = locks.open_lock(store.locks / "in-use")
            assert locks.wait_for(handle, shared=True)

    assert anew is theirs.exists()
    if anew:
        os.close(handle)


def test_what_cannot_be_kept_in_a_deleted_cache_is_an_error_with_a_remedy(store: Store) -> None:
    store.put_record(store.actions / "a", 1)
    shutil.rmtree(store.root)

    with pytest.raises(MachineError) as caught:
        store.put_record(store.actions / "a", 2)

    assert ("cache-deleted", False) == (caught.value.code, store.is_there)
