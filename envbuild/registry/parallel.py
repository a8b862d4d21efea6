"""Several blobs at once: the first failure ends the others, and an interrupt ends them at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from typing import TypeVar

from envbuild.progress import Stage

__all__ = ["Going", "in_parallel"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Going:
    """Tells pieces of work whether anybody still waits for them."""

    def __init__(self) -> None:
        self._over = threading.Event()

    def check(self) -> None:
        """Raise :class:`concurrent.futures.CancelledError` when nobody does."""
        if self._over.is_set():
            raise CancelledError

    def end(self) -> None:
        """Nobody does any more."""
        self._over.set()

    def watched(self, stage: Stage) -> Stage:
        """``stage``, for work that tells it of its progress: when nobody waits any more, telling ends it."""
        return _Watched(stage, self)


class _Watched:
    def __init__(self, stage: Stage, going: Going) -> None:
        self._stage = stage
        self._going = going

    def add_total(self, amount: int) -> None:
        self._stage.add_total(amount)

    def advance(self, amount: int, *, cached: bool = False) -> None:
        if amount > 0:  # what is taken back is taken back also at the end
            self._going.check()
        self._stage.advance(amount, cached=cached)

    def detail(self, text: str) -> None:
        self._stage.detail(text)


def in_parallel(
    work: Callable[[_Item, Going], _Result],
    items: Sequence[_Item],
    *,
    jobs: int,
    abort: Callable[[], None],
) -> list[_Result]:
    """What ``work`` returns for each of ``items``, in their order; they are begun in this order, too.

    Parameters:
        work: does one item, and calls :meth:`Going.check` now and then.
        abort: wakes up whoever waits for a server; called when the user interrupts.

    Raises: what the first item to fail raised.
    """
    going = Going()
    with ThreadPoolExecutor(max(min(jobs, len(items)), 1), thread_name_prefix="blobs") as pool:
        futures: list[Future[_Result]] = []
        try:
            futures.extend(pool.submit(work, item, going) for item in items)
            for future in as_completed(futures):
                future.result()
        except BaseException as error:
            going.end()
            for future in futures:
                future.cancel()
            if not isinstance(error, Exception):
                abort()
            raise
    return [future.result() for future in futures]
