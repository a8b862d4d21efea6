"""What a cluster tells about a fleet's warm nodes: asked once, or until they are warm."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from envbuild.errors import RemoteError
from envbuild.fleet.model import Fleet, Pin
from envbuild.warm.kruise import API_VERSION, KIND
from envbuild.warm.labels import object_name, own_selector
from envbuild.warm.record import read_applied
from envbuild.warm.status import Observed, PoolStatus, judge

if TYPE_CHECKING:
    from envbuild.cluster.api import Cluster

__all__ = ["fleet_status", "wait_until_warm"]

_PAUSE = 3.0  # seconds between two looks


def fleet_status(cluster: Cluster, fleet: Fleet, pins: Mapping[str, Pin]) -> tuple[PoolStatus, ...]:
    """The state of every pool of ``fleet`` at this moment.

    Parameters:
        pins: what each environment is.

    Raises:
        RemoteError: the cluster cannot be asked, or what was applied is damaged in it.
    """
    own, namespace = own_selector(fleet), fleet.namespace
    applied = read_applied(cluster.find("v1", "ConfigMap", object_name(fleet), namespace))
    observed = Observed(
        nodes=tuple(cluster.list("v1", "Node")),
        pods=tuple(cluster.list("v1", "Pod", namespace, labels=own)),
        events=tuple(cluster.list("v1", "Event", namespace, fields="involvedObject.kind=Pod,type=Warning")),
        jobs=_jobs(cluster, namespace, own),
    )
    return judge(fleet, pins, applied, observed)


def wait_until_warm(
    look: Callable[[], tuple[PoolStatus, ...]],
    seconds: float,
    changed: Callable[[tuple[PoolStatus, ...]], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[PoolStatus, ...]:
    """Look until everything is warm or ``seconds`` are over; the last state.

    Parameters:
        changed: told the first state, and each that differs from the one before.
    """
    end = clock() + seconds
    before: tuple[PoolStatus, ...] | None = None
    while True:
        state = look()
        if state != before:
            changed(state)
            before = state
        if all(pool.warm for pool in state) or clock() + _PAUSE > end:
            return state
        sleep(_PAUSE)


def _jobs(cluster: Cluster, namespace: str, labels: str) -> tuple[dict[str, object], ...]:
    """OpenKruise's jobs for the fleet; none where there is no OpenKruise."""
    try:
        return tuple(cluster.list(API_VERSION, KIND, namespace, labels=labels))
    except RemoteError as error:
        if error.code in ("cluster-kind-unknown", "cluster-forbidden"):
            return ()
        raise
