"""How warm the nodes of a fleet are, as numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from envbuild.metrics.totals import Totals

__all__ = ["PoolWarmth", "set_unknown", "set_warmth"]


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
