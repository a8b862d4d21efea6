"""Bringing a cluster to what a plan says: the objects of a fleet, and none that it had before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from envbuild.cluster.apply import Change, Prune
from envbuild.cluster.apply import apply as apply_to
from envbuild.errors import RemoteError
from envbuild.fleet.model import Fleet
from envbuild.warm import kruise
from envbuild.warm.daemonset import node_selector
from envbuild.warm.labels import own_selector

if TYPE_CHECKING:
    from envbuild.cluster.api import Cluster

__all__ = ["apply_objects", "pools_without_nodes"]

_DAEMONSET = ("apps/v1", "DaemonSet")
_JOB = (kruise.API_VERSION, kruise.KIND)


def apply_objects(
    cluster: Cluster,
    fleet: Fleet,
    objects: Sequence[dict[str, Any]],
    *,
    dry_run: bool,
    before: Callable[[tuple[Change, ...]], object],
    made: Callable[[Change], object],
) -> tuple[Change, ...]:
    """Apply ``objects`` and delete what else there is of ``fleet``, also that of another back end.

    Parameters:
        dry_run: change nothing.
        before: is given the changes before they are made.
        made: is given each change as soon as it is made.

    Raises:
        RemoteError: the cluster refuses or fails.
    """
    kinds = [_DAEMONSET]
    try:
        cluster.resource(*_JOB)
        kinds.append(_JOB)
    except RemoteError as error:
        if error.code != "cluster-kind-unknown":
            raise
    prune = Prune(own_selector(fleet), tuple(kinds), fleet.namespace)
    return apply_to(cluster, objects, dry_run=dry_run, prune=prune, before=before, made=made)


def pools_without_nodes(cluster: Cluster, fleet: Fleet) -> list[str]:
    """The names of pools that no node is in at present."""
    labels = [dict(node["metadata"].get("labels") or {}).items() for node in cluster.list("v1", "Node")]
    return [
        pool.name for pool in fleet.pools if not any(node_selector(pool).items() <= found for found in labels)
    ]
