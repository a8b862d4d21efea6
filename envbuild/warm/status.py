"""Whether nodes are warm, and if not, why: judged from what the cluster tells about nodes and pods. Pure.

An image is on a node for certain while one of our containers runs from it. ``status.images`` of a node is
believed for what it lists; what it does not list may still be there, because kubelets tell of 50 images only
(``nodeStatusMaxImages``). Objects are dictionaries as the API gives them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, Final

from envbuild.fleet.model import Fleet, Pin, Pool, Toleration
from envbuild.source.text import clean
from envbuild.warm.causes import (
    WARM,
    Cause,
    container_causes,
    node_cause,
    pod_node,
    pressure_cause,
)
from envbuild.warm.daemonset import node_selector, pool_tolerations
from envbuild.warm.images import pool_images
from envbuild.warm.labels import LABEL_POOL
from envbuild.warm.record import Applied

__all__ = ["ImageStatus", "NodeStatus", "Observed", "PoolStatus", "judge"]

_LISTED_AT_MOST: Final = 50
_UNTOLD: Final = Cause("not-applied", "the cluster was not told to keep it: run `envbuild warm apply`")
# The cause that is told for a node, if it has several: the one that has to be acted on comes first.
_ORDER: Final = (
    *(
        "not-applied",
        "node-not-ready",
        "taint",
        "disk-pressure",
        "disk-full",
        "pull-failed",
        "evicted",
        "pod-failed",
    ),
    *("not-scheduled", "start-failed", "collected", "no-pod", "previous", "pulling"),
)


@dataclass(frozen=True, slots=True)
class Observed:
    """What the cluster has: all nodes, our pods, events about pods, our jobs of OpenKruise."""

    nodes: tuple[Mapping[str, Any], ...] = ()
    pods: tuple[Mapping[str, Any], ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()
    jobs: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class ImageStatus:
    """One image on one node; ``held`` when a container of ours keeps it there, ``previous`` when the
    environments started from it before, and not now.
    """

    image: str
    environments: tuple[str, ...]
    cause: Cause
    held: bool = False
    previous: bool = False


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node; ``cause`` is :data:`~envbuild.warm.causes.WARM` when all its images are there, but for
    previous ones.
    """

    name: str
    cause: Cause
    images: tuple[ImageStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """One pool.

    ``not_applied`` are images that the fleet has and the cluster was not told of, ``no_longer`` those the
    other way round, ``left_out`` those that do not fit into the pool's disk. ``previous`` are images that its
    nodes were told to keep because environments started from them before, ``previous_not_kept`` those that
    they were not told of: they do not fit, are gone, or nobody applied it. A pool without nodes is warm once
    it was told everything; previous images do not count.
    """

    name: str
    nodes: tuple[NodeStatus, ...] = ()
    not_applied: tuple[str, ...] = ()
    no_longer: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    previous: tuple[str, ...] = ()
    previous_not_kept: tuple[str, ...] = ()

    @property
    def warm_nodes(self) -> int:
        """How many nodes have all that they were told to keep."""
        return sum(node.cause == WARM for node in self.nodes)

    @property
    def warm(self) -> bool:
        """Whether every node has everything that the fleet wants."""
        return self.warm_nodes == len(self.nodes) and not self.not_applied

    @property
    def previous_nodes(self) -> int:
        """How many nodes have all previous images that they were told to keep."""
        return sum(all(image.cause == WARM for image in node.images if image.previous) for node in self.nodes)


def judge(
    fleet: Fleet,
    pins: Mapping[str, Pin],
    applied: Mapping[str, Applied],
    observed: Observed,
) -> tuple[PoolStatus, ...]:
    """The state of every pool, in the fleet's order; nodes by name.

    Parameters:
        pins: what each environment is.
        applied: what nodes of each pool were told.
    """
    evidence = _evidence(observed)
    return tuple(
        _pool_status(fleet, pins, applied.get(pool.name, Applied()), pool, observed, evidence)
        for pool in fleet.pools
    )


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What pods say of images, by node and image; the pools whose pods a node has; jobs by pool and image.

    Everything is looked through once for all nodes and images: large fleets have many of both.
    """

    causes: Mapping[str, Mapping[str, list[Cause]]]
    pools: Mapping[str, AbstractSet[str]]
    jobs: Mapping[tuple[str, str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of one node: what pods say of images, whether it has pods of ours, what it lists."""

    name: str
    causes: Mapping[str, list[Cause]]
    has_pod: bool
    listed: AbstractSet[str]
    listed_images: int


@dataclass(frozen=True, slots=True)
class _Expected:
    """Images with their environments: what nodes were ``told`` to keep, and what the fleet wants ``untold``;
    ``previous`` are those of the former that nobody needs at the moment.
    """

    told: Mapping[str, tuple[str, ...]]
    untold: Mapping[str, tuple[str, ...]]
    previous: AbstractSet[str]


def _evidence(observed: Observed) -> _Evidence:
    causes: dict[str, dict[str, list[Cause]]] = defaultdict(lambda: defaultdict(list))
    pools, events = defaultdict(set), defaultdict(list)
    for event in observed.events:
        events[str((event.get("involvedObject") or {}).get("uid"))].append(event)
    for pod in observed.pods:
        if not pod["metadata"].get("deletionTimestamp"):
            node = pod_node(pod) or ""
            pools[node].add(_pool_of(pod))
            for image, cause in container_causes(pod, events.get(str(pod["metadata"]["uid"]), ())):
                causes[node][image].append(cause)
    jobs = {(_pool_of(job), str((job.get("spec") or {}).get("image"))): job for job in observed.jobs}
    return _Evidence(causes, pools, jobs)


def _seen(node: Mapping[str, Any], pool: Pool, evidence: _Evidence) -> _Seen:
    name = str(node["metadata"]["name"])
    images = (node.get("status") or {}).get("images") or ()
    return _Seen(
        name,
        evidence.causes.get(name, {}),
        pool.name in evidence.pools.get(name, ()),
        {listed for one in images for listed in one.get("names") or ()},
        len(images),
    )


def _pool_of(item: Mapping[str, Any]) -> str:
    return str((item["metadata"].get("labels") or {}).get(LABEL_POOL))


def _pool_status(
    fleet: Fleet,
    pins: Mapping[str, Pin],
    applied: Applied,
    pool: Pool,
    observed: Observed,
    evidence: _Evidence,
) -> PoolStatus:
    images = {str(one.reference): one for one in pool_images(fleet, pins, pool)}
    wanted = {
        image: one.environments
        for image, one in images.items()
        if not one.previous and image not in applied.left_out
    }
    told = dict((*applied.images, *applied.previous))
    # After a rollback an image that was kept as a previous one is what the fleet wants: then it counts.
    previous = {image for image, _ in applied.previous} - wanted.keys()
    tolerated = pool_tolerations(fleet, pool)
    untold = {image: names for image, names in sorted(wanted.items()) if image not in told}
    expected = _Expected(told, untold, previous)
    return PoolStatus(
        pool.name,
        tuple(
            _node_status(node, pool, expected, tolerated, evidence)
            for node in sorted(observed.nodes, key=lambda node: str(node["metadata"]["name"]))
            if node_selector(pool).items() <= (node["metadata"].get("labels") or {}).items()
        ),
        not_applied=tuple(untold),
        no_longer=tuple(sorted(told.keys() - images.keys())),
        left_out=applied.left_out,
        previous=tuple(sorted(previous)),
        previous_not_kept=tuple(
            image for image, one in sorted(images.items()) if one.previous and image not in told
        ),
    )


def _node_status(
    node: Mapping[str, Any],
    pool: Pool,
    expected: _Expected,
    tolerated: tuple[Toleration, ...],
    evidence: _Evidence,
) -> NodeStatus:
    seen, of_node = _seen(node, pool, evidence), node_cause(node, tolerated)
    images = tuple(
        replace(
            _image_status(seen, image, environments, evidence.jobs.get((pool.name, image))),
            previous=image in expected.previous,
        )
        for image, environments in expected.told.items()
    ) + tuple(ImageStatus(image, environments, _UNTOLD) for image, environments in expected.untold.items())
    causes = [image.cause for image in images if image.cause != WARM and not image.previous]
    if causes and of_node == WARM:
        of_node = pressure_cause(node)
    if of_node != WARM:
        return NodeStatus(seen.name, of_node, images)
    first = min(causes, key=lambda cause: _ORDER.index(cause.reason), default=WARM)
    return NodeStatus(seen.name, first, images)


def _image_status(
    seen: _Seen, image: str, environments: tuple[str, ...], job: Mapping[str, Any] | None
) -> ImageStatus:
    causes = seen.causes.get(image, [])
    if WARM in causes:
        return ImageStatus(image, environments, WARM, held=True)
    if image in seen.listed:
        return ImageStatus(image, environments, WARM)
    if job is not None:
        causes = [_job_cause(job, seen.name, seen.listed_images)]
    if not causes:
        causes = [
            Cause("previous", "its pod is of an earlier version, and replaced when it is the node's turn")
            if seen.has_pod
            else Cause("no-pod", "it has no pod that keeps images")
        ]
    return ImageStatus(image, environments, min(causes, key=lambda cause: _ORDER.index(cause.reason)))


def _job_cause(job: Mapping[str, Any], node: str, listed: int) -> Cause:
    status = job.get("status") or {}
    if node in (status.get("failedNodes") or ()):
        return Cause("pull-failed", clean(str(status.get("message") or "its ImagePullJob failed on it")))
    if int(status.get("active") or 0) > 0 or "desired" not in status:
        return Cause("pulling", "its ImagePullJob is under way")
    if listed >= _LISTED_AT_MOST:
        return Cause("collected", f"its kubelet lists {listed} images only, and not this one")
    return Cause("collected", "it was pulled, and the kubelet has collected it since")
