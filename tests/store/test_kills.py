"""Processes that work on one store at once, and processes that are killed: nothing wrong, nothing left."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from envbuild.progress import Silent
from envbuild.store import Store
from envbuild.store.prune import in_use, prune
from envbuild.store.verify import verify
from tests.support.store_work import WORK, place_for_work

pytestmark = pytest.mark.slow  # processes that are killed

_FORK = multiprocessing.get_context("fork")  # nothing has to be imported again
_KILLS = 24


def _work(root: Path, outside: Path, seed: int, answers: object = None) -> None:
    """Everything, in an order of its own."""
    store = Store(root)
    names = sorted(WORK)
    random.Random(seed).shuffle(names)
    with in_use(store):
        found = {name: WORK[name](store, outside) for name in names}
    if answers is not None:
        answers.put(found)  # type: ignore[attr-defined]


def _expected(tmp_path: Path) -> dict[str, object]:
    store, outside = place_for_work(tmp_path / "expected")
    return {name: work(store, outside) for name, work in WORK.items()}


def _start(root: Path, outside: Path, seed: int) -> multiprocessing.process.BaseProcess:
    process = _FORK.Process(target=_work, args=(root, outside, seed))
    process.start()
    return process


def _no_flock(handle: int, operation: int) -> None:
    pass


@pytest.mark.parametrize("locks", [True, False], ids=["locks", "locks that pretend"])
def test_processes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: bool) -> None:
    """All of them get what one alone gets, while another one prunes all the time."""
    expected = _expected(tmp_path)
    store, outside = place_for_work(tmp_path / "shared")
    if not locks:
        monkeypatch.setattr(fcntl, "flock", _no_flock)
    answers = _FORK.Queue()
    processes = [_FORK.Process(target=_work, args=(store.root, outside, seed, answers)) for seed in range(5)]
    found = []
    try:
        for process in processes:
            process.start()
        while len(found) < len(processes):
            prune(store, older_than=0)
            while not answers.empty():
                found.append(answers.get())
            assert not any(process.exitcode for process in processes)
    finally:
        for process in processes:
            process.kill() if len(found) < len(processes) else process.join()

    assert [expected] * len(processes) == found
    assert () == verify(store, Silent()).damage
    if locks:
        with in_use(store):
            assert [] == list(store.tmp.iterdir())


@pytest.mark.parametrize("locks", [True, False], ids=["locks", "locks that pretend"])
def test_kills_at_random_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: bool) -> None:
    """SIGKILL, of one that is alone or one of several: what is there is whole, and what follows right."""
    expected = _expected(tmp_path)
    chance = random.Random(20260701)
    if not locks:
        monkeypatch.setattr(fcntl, "flock", _no_flock)
    store, outside = place_for_work(tmp_path / "0")
    for kill in range(1, _KILLS + 1):
        processes = [_start(store.root, outside, kill + 1000 * other) for other in range(1 + kill % 3)]
        time.sleep(chance.uniform(0, 0.15))
        processes[0].kill()  # unless it has ended already
        for process in processes:
            process.join()
        assert {0} >= {process.exitcode for process in processes[1:]}
        assert () == verify(store, Silent(), remove=False).damage
        assert not _half(outside)
        if kill % 8 == 0:
            _finish(store, outside, expected, locks)
            store, outside = place_for_work(tmp_path / str(kill))


def _half(outside: Path) -> bool:
    """Whether there is an output that is not whole."""
    layout = outside / "layout"
    return layout.exists() and not (layout / "index.json").exists()


def _finish(store: Store, outside: Path, expected: dict[str, object], locks: bool) -> None:
    with in_use(store):
        if locks:
            assert [] == list(store.tmp.iterdir())
        assert expected == {name: work(store, outside) for name, work in WORK.items()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_kill_leaves_nothing(tmp_path: Path, number: int) -> None:
    """Like Ctrl-C: what was begun is cleared away by who began it."""
    store, outside = place_for_work(tmp_path / "shared")
    for seed in range(8):
        process = _FORK.Process(target=_interruptible, args=(store.root, outside, seed))
        # Until the child is ready for it, a signal waits; else it would interrupt a copy of the test runner.
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
        process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        time.sleep(0.02 * seed)
        os.kill(process.pid or 0, number)
        process.join()

        assert [] == list(store.tmp.iterdir())
        assert () == verify(store, Silent()).damage


def _interruptible(root: Path, outside: Path, seed: int) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
        _work(root, outside, seed)
    except KeyboardInterrupt:
        os._exit(130)
