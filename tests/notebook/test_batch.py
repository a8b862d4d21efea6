"""Doing the same for many things."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from envbuild.notebook.batch import Batch


def test_everything_is_done_in_order() -> None:
    done: list[int] = []
    batch = Batch(lambda number: (done.append(number), number * 2)[1], 3)
    batch.run()
    assert ([0, 1, 2], {0: 0, 1: 2, 2: 4}, None) == (done, batch.outcomes, batch.stopped)


def test_some_at_once() -> None:
    """Each waits for the other."""
    meeting = threading.Barrier(2, timeout=300)
    batch = Batch(lambda number: meeting.wait() >= 0, 4, jobs=2)
    batch.run()
    assert [0, 1, 2, 3] == sorted(batch.outcomes)


def test_after_the_last_one_none_is_begun() -> None:
    batch = Batch(lambda number: number, 5, last=lambda outcome: outcome == 1)
    batch.run()
    assert {0: 0, 1: 1} == batch.outcomes


def test_the_time_is_over() -> None:
    def work(number: int) -> str:
        while batch.stopped is None:
            time.sleep(0.01)
        return batch.stopped

    batch = Batch(work, 3, jobs=2, seconds=0.01)
    batch.run()
    assert {0: "total-timeout", 1: "total-timeout"} == batch.outcomes


def test_an_error_stops_the_others_and_is_raised() -> None:
    def work(number: int) -> str | None:
        if number == 1:
            raise OSError("full")
        while batch.stopped is None:
            time.sleep(0.01)
        return batch.stopped

    batch = Batch(work, 3, jobs=2)
    with pytest.raises(OSError, match="full"):
        batch.run()
    assert {0: "failed"} == batch.outcomes


def test_an_interrupt_waits_for_those_that_run() -> None:
    def work(number: int) -> str | None:
        time.sleep(0.15)  # until the main thread waits
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        while batch.stopped is None:
            time.sleep(0.01)
        time.sleep(0.05)
        return batch.stopped

    batch = Batch(work, 2)
    with pytest.raises(KeyboardInterrupt):
        batch.run()
    assert {0: "interrupted"} == batch.outcomes
