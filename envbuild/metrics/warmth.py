"""How warm the nodes of a fleet are, as numbers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from envbuild.errors import EnvbuildError
from envbuild.metrics.totals import Totals

__all__ = ["PoolWarmth", "Watch", "set_unknown", "set_warmth"]


@dataclass(frozen=True, slots=True)
class PoolWarmth:
    """A pool: how many ``nodes`` it has, and how many of them are cold, by the reason's name."""

    pool: str
    nodes: int
    cold: Mapping[str, int]


def set_warmth(totals: Totals, fleet: str, pools: Sequence[PoolWarmth]) -> None:
    """Put what the cluster says about ``fleet`` now into ``totals``."""
    for name in ("envbuild_warm_nodes", "envbuild_warm_nodes_wanted", "envbuild_cold_nodes"):
        totals.forget(name, fleet)
    totals.set("envbuild_warm_status_success", 1, fleet)
    for pool in pools:
        cold = Counter(pool.cold)
        totals.set("envbuild_warm_nodes", pool.nodes - cold.total(), fleet, pool.pool)
        totals.set("envbuild_warm_nodes_wanted", pool.nodes, fleet, pool.pool)
        for cause, count in sorted(cold.items()):
            totals.set("envbuild_cold_nodes", count, fleet, pool.pool, cause)


def set_unknown(totals: Totals, fleet: str) -> None:
    """The cluster did not answer: what it said before is not said any longer."""
    for name in ("envbuild_warm_nodes", "envbuild_warm_nodes_wanted", "envbuild_cold_nodes"):
        totals.forget(name, fleet)
    totals.set("envbuild_warm_status_success", 0, fleet)


class Watch:
    """Asks a cluster now and then, in a thread of its own: a scrape does not wait for it.

    Parameters:
        ask: asks once; may raise :class:`EnvbuildError`.
        seconds: between two questions.
        warn: told why the cluster cannot be asked, once until it can be again.
    """

    def __init__(
        self,
        fleet: str,
        ask: Callable[[], Sequence[PoolWarmth]],
        seconds: float,
        warn: Callable[[str], None],
    ) -> None:
        self._fleet = fleet
        self._ask = ask
        self._seconds = seconds
        self._warn = warn
        self._found: Sequence[PoolWarmth] | None = None
        self._trouble: str | None = None
        self._asked = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="warm-status", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()

    def add_to(self, totals: Totals) -> None:
        """Put what was said last into ``totals``; nothing before the first answer."""
        if not self._asked:
            return
        if self._found is None:
            set_unknown(totals, self._fleet)
        else:
            set_warmth(totals, self._fleet, self._found)

    def look(self) -> None:
        """Ask now."""
        try:
            self._found = self._ask()
            self._trouble = None
        except EnvbuildError as error:
            self._found = None
            if error.message != self._trouble:
                self._warn(f"{error.message}; {error.remedy}" if error.remedy else error.message)
            self._trouble = error.message
        self._asked = True

    def _run(self) -> None:
        while not self._ending.is_set():
            self.look()
            self._ending.wait(self._seconds)
