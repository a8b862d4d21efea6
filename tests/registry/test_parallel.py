"""Several pieces of work at once."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest

from envbuild.registry.parallel import Going, in_parallel


def never() -> None:
    raise AssertionError("nobody has interrupted")


def test_results_are_in_the_order_of_the_items() -> None:
    barrier = threading.Barrier(3)

    def work(item: int, going: Going) -> int:
        barrier.wait(300)
        return item * 2

    assert [2, 4, 6] == in_parallel(work, [1, 2, 3], jobs=3, abort=never)
    assert [] == in_parallel(work, [], jobs=3, abort=never)


def test_a_failure_ends_the_others() -> None:
    started, failed = threading.Event(), threading.Event()
    done: list[str] = []

    def work(item: str, going: Going) -> None:
        if item == "fails":
            assert started.wait(300)
            failed.set()
            raise ValueError("no")
        if item == "runs":
            started.set()
            assert failed.wait(300)
            while True:
                try:
                    going.check()
                except CancelledError:
                    done.append(item)
                    raise
        done.append(item)

    with pytest.raises(ValueError, match="no"):
        in_parallel(work, ["runs", "fails", "waits"], jobs=2, abort=never)
    assert "runs" in done


def test_an_interrupt_wakes_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(futures: object) -> object:
        raise KeyboardInterrupt

    woken = threading.Event()
    monkeypatch.setattr("envbuild.registry.parallel.as_completed", interrupted)

    with pytest.raises(KeyboardInterrupt):
        in_parallel(lambda item, going: woken.wait(300), [1], jobs=1, abort=woken.set)
    assert woken.is_set()
