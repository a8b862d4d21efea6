"""Warm nodes with nothing but Kubernetes: DaemonSets whose pods run one container of each image.

A container that runs is what makes the kubelet pull its image, and what keeps the kubelet's garbage
collection from taking it away. The pods fit the "restricted" Pod Security Standard. Objects are dictionaries
as their YAML is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from envbuild.errors import UsageError
from envbuild.fleet.model import Fleet, Pool, Toleration
from envbuild.warm.labels import LABEL_LANE, LABEL_POOL, object_name, own_labels
from envbuild.warm.planner import PlannedImage, PoolPlan
from envbuild.warm.record import architecture, plan_object

__all__ = [
    "PRIORITY_CLASS",
    "Settings",
    "daemonset_objects",
    "image_name",
    "lanes",
    "node_selector",
    "pool_tolerations",
]

PRIORITY_CLASS: Final = "envbuild-warm"
_PROGRAMS: Final = "hold"
_DIRECTORY: Final = "/.envbuild-warm"
_NOBODY: Final = 65534
_PREVIOUS: Final = "previous"


@dataclass(frozen=True, slots=True)
class Settings:
    """How nodes are made warm.

    ``parallel`` is how many images a node may pull at once, ``at_once`` on how many nodes of a pool a change
    is under way (a number, or a share like ``25%``). ``priority_class`` is one that the cluster has; None:
    one of our own, below everything that has no class.

    Raises:
        UsageError: ``at_once`` is neither (``bad-at-once``).
    """

    parallel: int = 3
    at_once: str = "25%"
    priority_class: str | None = None

    def __post_init__(self) -> None:
        _at_once(self.at_once)


def daemonset_objects(fleet: Fleet, plans: Sequence[PoolPlan], settings: Settings) -> list[dict[str, Any]]:
    """What has to be in the cluster so that nodes are as ``plans`` say.

    Raises:
        UsageError: a pool's platform is none that can be kept warm.
    """
    objects = [plan_object(fleet, plans, programs=True)]
    if settings.priority_class is None:
        objects.insert(0, _priority_class())
    for plan in plans:
        objects += [
            _daemonset(fleet, plan.pool, lane, images, settings)
            for lane, images in lanes(plan.images, settings.parallel).items()
        ]
    return objects


def lanes(images: Sequence[PlannedImage], parallel: int) -> dict[str, tuple[PlannedImage, ...]]:
    """``images`` dealt out to at most ``parallel`` pods, in order; previous images have one more to them.

    A kubelet never pulls two images for one pod at the same time; for two pods it does, if it is configured
    to (``serializeImagePulls: false``). A change goes on to other nodes when pods are ready: one that waits
    for a previous image, which may be gone, must not be one that holds a current image.
    """
    current = [one for one in images if not one.image.previous]
    dealt = {str(start + 1): tuple(current[start::parallel]) for start in range(min(parallel, len(current)))}
    previous = tuple(one for one in images if one.image.previous)
    return {**dealt, **({_PREVIOUS: previous} if previous else {})}


def image_name(planned: PlannedImage) -> str:
    """What a container of the image is called: as the first of its environments."""
    return planned.image.environments[0]


def node_selector(pool: Pool) -> dict[str, str]:
    """The labels of the pool's nodes; their platform's, too, which every kubelet sets."""
    system, architecture = pool.platform.split("/")[:2]
    return {"kubernetes.io/arch": architecture, "kubernetes.io/os": system, **dict(pool.selector)}


def _priority_class() -> dict[str, Any]:
    """Below 0, what pods without a class have; who needs room may take it from these pods."""
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {
            "name": PRIORITY_CLASS,
            "labels": {"app.kubernetes.io/managed-by": "envbuild"},
        },
        "value": -10,
        "preemptionPolicy": "Never",
        "globalDefault": False,
        "description": "Pods that keep images on nodes (envbuild warm)",
    }


def _daemonset(
    fleet: Fleet, pool: Pool, lane: str, images: Sequence[PlannedImage], settings: Settings
) -> dict[str, Any]:
    chosen = {**own_labels(fleet), LABEL_POOL: pool.name, LABEL_LANE: lane}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": object_name(fleet, pool.name, lane),
            "namespace": fleet.namespace,
            "labels": chosen,
        },
        "spec": {
            "selector": {"matchLabels": chosen},
            "updateStrategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": _at_once(settings.at_once)},
            },
            "revisionHistoryLimit": 3,
            "template": {
                "metadata": {"labels": chosen},
                "spec": _pod(fleet, pool, images, settings),
            },
        },
    }


def _pod(fleet: Fleet, pool: Pool, images: Sequence[PlannedImage], settings: Settings) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "containers": [_container(planned) for planned in images],
        "enableServiceLinks": False,
        "nodeSelector": node_selector(pool),
        "priorityClassName": settings.priority_class or PRIORITY_CLASS,
        "securityContext": {
            "runAsGroup": _NOBODY,
            "runAsNonRoot": True,
            "runAsUser": _NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 0,
        "volumes": [
            {
                "name": _PROGRAMS,
                "configMap": {
                    "name": object_name(fleet),
                    "defaultMode": 0o555,
                    "items": [{"key": architecture(pool), "path": _PROGRAMS}],
                },
            }
        ],
    }
    if fleet.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in fleet.pull_secrets]
    if tolerated := pool_tolerations(fleet, pool):
        pod["tolerations"] = [_toleration(one) for one in tolerated]
    return pod


def _container(planned: PlannedImage) -> dict[str, Any]:
    return {
        "name": image_name(planned),
        "image": str(planned.image.reference),
        "imagePullPolicy": "IfNotPresent",
        "command": [f"{_DIRECTORY}/{_PROGRAMS}"],
        # Whatever the image says: a directory that any user may be in.
        "workingDir": "/",
        "resources": {
            "limits": {"cpu": "50m", "memory": "16Mi"},
            "requests": {"cpu": "1m", "memory": "1Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": _PROGRAMS, "mountPath": _DIRECTORY, "readOnly": True}],
    }


def pool_tolerations(fleet: Fleet, pool: Pool) -> tuple[Toleration, ...]:
    """The taints that servers on nodes of ``pool`` may put up with: the pool's own, then environments'."""
    own = [one for one in fleet.environments if not one.pools or pool.name in one.pools]
    return tuple(dict.fromkeys([*pool.tolerations, *(each for one in own for each in one.tolerations)]))


def _toleration(toleration: Toleration) -> dict[str, str]:
    fields = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value,
        "effect": toleration.effect,
    }
    return {name: value for name, value in fields.items() if value}


def _at_once(text: str) -> int | str:
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    share = text.removesuffix("%")
    if text.endswith("%") and share.isascii() and share.isdecimal() and 0 < int(share) <= 100:
        return text
    raise UsageError(
        f"{text!r} is neither a number of nodes nor a share of them",
        code="bad-at-once",
        remedy="write it like 2 or 25%",
    )
