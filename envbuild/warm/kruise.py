"""Warm nodes with OpenKruise: one ``ImagePullJob`` for each image and pool.

OpenKruise's daemon on each node pulls through the container runtime, without pods; nodes that come later are
pulled to as well (``completionPolicy: Never``). Nothing keeps the kubelet from collecting an image that no
pod uses. The version v1alpha1 is one that every release of OpenKruise serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from envbuild.fleet.model import Fleet
from envbuild.warm.daemonset import Settings, image_name, node_selector
from envbuild.warm.labels import LABEL_POOL, object_name, own_labels
from envbuild.warm.planner import PlannedImage, PoolPlan
from envbuild.warm.record import plan_object

__all__ = ["API_VERSION", "KIND", "kruise_objects"]

API_VERSION: Final = "apps.kruise.io/v1alpha1"
KIND: Final = "ImagePullJob"
_SECONDS_PER_GIGABYTE, _LEAST_SECONDS = 300, 600  # its own default of 600 s is too little for large images


def kruise_objects(fleet: Fleet, plans: Sequence[PoolPlan], settings: Settings) -> list[dict[str, Any]]:
    """The jobs for ``plans``; ``parallelism`` is on how many nodes one image is pulled at a time."""
    jobs = [
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": object_name(fleet, plan.pool.name, image_name(planned), *_age(planned)),
                "namespace": fleet.namespace,
                "labels": {**own_labels(fleet), LABEL_POOL: plan.pool.name},
            },
            "spec": {
                "completionPolicy": {"type": "Never"},
                "image": str(planned.image.reference),
                "parallelism": int(settings.at_once) if settings.at_once.isdecimal() else settings.at_once,
                "pullPolicy": {"backoffLimit": 3, "timeoutSeconds": _timeout(planned.image.size)},
                "pullSecrets": list(fleet.pull_secrets),
                "selector": {"matchLabels": node_selector(plan.pool)},
            },
        }
        for plan in plans
        for planned in plan.images
    ]
    return [plan_object(fleet, plans), *jobs]


def _age(planned: PlannedImage) -> tuple[str, ...]:
    return ("previous",) if planned.image.previous else ()


def _timeout(size: int) -> int:
    return max(_LEAST_SECONDS, size * _SECONDS_PER_GIGABYTE // 10**9)
