"""The JSON documents of ``envbuild warm`` (docs/schemas.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from envbuild.source.text import redact

if TYPE_CHECKING:
    from envbuild.cluster.apply import Change
    from envbuild.fleet.model import Fleet
    from envbuild.warm.planner import PoolPlan, WarmImage
    from envbuild.warm.present import NodePull
    from envbuild.warm.status import ImageStatus, PoolStatus

__all__ = ["changes_document", "manifest_document", "plan_document", "status_document"]


def plan_document(
    plans: Sequence[PoolPlan], pulls: Mapping[str, Sequence[NodePull]] | None = None
) -> dict[str, Any]:
    """Of ``envbuild warm plan``; ``pulls`` is what nodes still have to pull, by pool."""
    return {"pools": [_pool(plan, (pulls or {}).get(plan.pool.name)) for plan in plans]}


def _pool(plan: PoolPlan, pulls: Sequence[NodePull] | None) -> dict[str, Any]:
    return {
        "pool": plan.pool.name,
        "platform": plan.pool.platform,
        "selector": dict(plan.pool.selector),
        "gpu": plan.pool.gpu,
        "budget": plan.pool.disk,
        "pull": plan.pull,
        "unshared": plan.unshared,
        "disk": plan.disk,
        "everything": plan.everything,
        "images": [
            {**_image(one.image), "pull": one.pull, "shared": one.shared, "disk": one.disk}
            for one in plan.images
        ],
        "left_out": [
            {**_image(one.image), "disk": one.disk, "fits_within": one.fits_within} for one in plan.left_out
        ],
        "gone": [
            {
                "image": str(one.reference),
                "environments": list(one.environments),
                "message": redact(one.message),
            }
            for one in plan.gone
        ],
        "nodes": None if pulls is None else [{"node": one.node, "pull": one.pull} for one in pulls],
    }


def _image(image: WarmImage) -> dict[str, Any]:
    return {
        "image": str(image.reference),
        "environments": list(image.environments),
        "launches": image.launches,
        "previous": image.previous,
        "size": image.size,
        "estimated": image.estimated,
    }


def manifest_document(backend: str, documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of ``envbuild warm manifest``."""
    return {"backend": backend, "documents": list(documents)}


def changes_document(changes: Sequence[Change], *, applied: bool) -> dict[str, Any]:
    """Of ``envbuild warm apply``, without the state of nodes."""
    return {
        "applied": applied,
        "changes": [
            {
                "action": change.action,
                "kind": change.kind,
                "name": change.name,
                "namespace": change.namespace or None,
                "difference": change.difference,
            }
            for change in changes
        ],
    }


def status_document(fleet: Fleet, pools: Sequence[PoolStatus]) -> dict[str, Any]:
    """Of ``envbuild warm status``."""
    return {
        "fleet": fleet.name,
        "namespace": fleet.namespace,
        "all_warm": all(pool.warm for pool in pools),
        "warm": sum(pool.warm_nodes for pool in pools),
        "nodes": sum(len(pool.nodes) for pool in pools),
        "pools": [
            {
                "pool": pool.name,
                "warm": pool.warm_nodes,
                "nodes": [
                    {
                        "node": node.name,
                        "warm": not node.cause.reason,
                        "reason": node.cause.reason or None,
                        "message": node.cause.message or None,
                        "images": [_image_status(image) for image in node.images],
                    }
                    for node in pool.nodes
                ],
                "not_applied": list(pool.not_applied),
                "no_longer": list(pool.no_longer),
                "left_out": list(pool.left_out),
                "previous": list(pool.previous),
                "previous_nodes": pool.previous_nodes,
                "previous_not_kept": list(pool.previous_not_kept),
            }
            for pool in pools
        ],
    }


def _image_status(image: ImageStatus) -> dict[str, Any]:
    return {
        "image": image.image,
        "environments": list(image.environments),
        "warm": not image.cause.reason,
        "held": image.held,
        "previous": image.previous,
        "reason": image.cause.reason or None,
        "message": image.cause.message or None,
    }
