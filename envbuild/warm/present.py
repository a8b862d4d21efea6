"""What the nodes of a cluster have already, as far as their kubelets tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from envbuild.errors import UsageError
from envbuild.image.reference import Reference, parse_reference
from envbuild.warm.daemonset import node_selector
from envbuild.warm.images import image_contents
from envbuild.warm.planner import Piece, PoolPlan

if TYPE_CHECKING:
    from envbuild.registry.registries import Registries

__all__ = ["NodePull", "node_pulls"]


@dataclass(frozen=True, slots=True)
class NodePull:
    """What one node still has to pull, in bytes."""

    node: str
    pull: int


def node_pulls(
    plans: Sequence[PoolPlan], nodes: Sequence[Mapping[str, Any]], registries: Registries
) -> dict[str, tuple[NodePull, ...]]:
    """What each node of the plans' pools has to pull, by pool; nodes by name.

    A node lists images, and not layers. Those of repositories that its pool's plan has images of are looked
    up in their registries, unless a plan has them, so that what an earlier version of an environment has
    brought is known; what other images have brought is not counted. No image is asked for twice.

    Parameters:
        nodes: all nodes of the cluster, as the API gives them.
    """
    listed = {plan.pool.name: _listed(plan, nodes) for plan in plans}
    known: dict[tuple[Reference, str], tuple[Piece, ...]] = {}
    wanted: set[tuple[Reference, str]] = set()
    for plan in plans:
        platform = plan.pool.platform
        for image in (*(one.image for one in plan.images), *(out.image for out in plan.left_out)):
            known[image.reference, platform] = image.contents
        wanted |= {(one, platform) for found in listed[plan.pool.name].values() for one in found}
    asked = sorted(wanted - known.keys(), key=str)
    with ThreadPoolExecutor(registries.jobs) as threads:
        told = threads.map(lambda key: image_contents(key[0], key[1], registries), asked)
        known.update(zip(asked, told, strict=True))
    return {plan.pool.name: _pulls(plan, listed[plan.pool.name], known) for plan in plans}


def _listed(plan: PoolPlan, nodes: Sequence[Mapping[str, Any]]) -> dict[str, set[Reference]]:
    """The images that each node of the plan's pool lists, of repositories of the plan."""
    repositories = {planned.image.reference.name for planned in plan.images}
    labels = node_selector(plan.pool).items()
    return {
        str(node["metadata"]["name"]): _images(node, repositories)
        for node in nodes
        if labels <= (node["metadata"].get("labels") or {}).items()
    }


def _pulls(
    plan: PoolPlan,
    listed: Mapping[str, set[Reference]],
    contents: Mapping[tuple[Reference, str], tuple[Piece, ...]],
) -> tuple[NodePull, ...]:
    platform = plan.pool.platform
    return tuple(
        NodePull(name, plan.to_pull({piece.digest for one in found for piece in contents[one, platform]}))
        for name, found in sorted(listed.items())
    )


def _images(node: Mapping[str, Any], repositories: set[str]) -> set[Reference]:
    """The images of ``repositories`` that a node lists by digest."""
    found = set()
    for image in (node.get("status") or {}).get("images") or ():
        for name in image.get("names") or ():
            try:
                reference = parse_reference(str(name))
            except UsageError:
                continue
            if reference.digest is not None and reference.name in repositories:
                found.add(Reference(reference.registry, reference.repository, None, reference.digest))
    return found
