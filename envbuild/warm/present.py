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
from envbuild.warm.planner import PoolPlan

if TYPE_CHECKING:
    from envbuild.registry.registries import Registries

__all__ = ["NodePull", "node_pulls"]


@dataclass(frozen=True, slots=True)
class NodePull:
    """What one node still has to pull, in bytes."""

    node: str
    pull: int


def node_pulls(
    plan: PoolPlan, nodes: Sequence[Mapping[str, Any]], registries: Registries
) -> tuple[NodePull, ...]:
    """What each node of the plan's pool has to pull, by name.

    A node lists images, and not layers. Those of repositories that the plan has images of are looked up in
    their registries, so that what an earlier version of an environment has brought is known; what other
    images have brought is not counted.

    Parameters:
        nodes: all nodes of the cluster, as the API gives them.
    """
    repositories = {planned.image.reference.name for planned in plan.images}
    labels = node_selector(plan.pool).items()
    listed = {
        str(node["metadata"]["name"]): _images(node, repositories)
        for node in nodes
        if labels <= (node["metadata"].get("labels") or {}).items()
    }
    asked = sorted({reference for found in listed.values() for reference in found}, key=str)
    with ThreadPoolExecutor(registries.jobs) as threads:
        contents = dict(
            zip(
                asked,
                threads.map(lambda one: image_contents(one, plan.pool.platform, registries), asked),
                strict=True,
            )
        )
    return tuple(
        NodePull(name, plan.to_pull({piece.digest for one in found for piece in contents[one]}))
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
