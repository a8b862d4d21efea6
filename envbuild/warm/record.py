"""What was applied last, as the cluster has it: a ConfigMap with the plan, and with the program that pods
run.

So the state of nodes is judged by what they were told, without a registry, and a fleet file that was changed
since is noticed.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envbuild.errors import RemoteError
from envbuild.fleet.model import Fleet, Pool
from envbuild.warm.hold import hold_program
from envbuild.warm.labels import object_name, own_labels
from envbuild.warm.planner import PoolPlan

__all__ = ["Applied", "architecture", "plan_object", "read_applied"]

# Keys are POOL.keep.0001, POOL.previous.0001 and POOL.left-out.0001: one line for each image in every diff.
_KEPT, _PREVIOUS, _LEFT_OUT = "keep", "previous", "left-out"


@dataclass(frozen=True, slots=True)
class Applied:
    """What nodes of one pool were told: images (references with digests), each with its environments, and
    the ones that these had before, if they are kept as well.
    """

    images: tuple[tuple[str, tuple[str, ...]], ...] = ()
    left_out: tuple[str, ...] = ()
    previous: tuple[tuple[str, tuple[str, ...]], ...] = ()


def architecture(pool: Pool) -> str:
    """``amd64`` of ``linux/amd64``."""
    return pool.platform.split("/")[1]


def plan_object(fleet: Fleet, plans: Sequence[PoolPlan], *, programs: bool = False) -> dict[str, Any]:
    """The ConfigMap for ``plans``.

    Parameters:
        programs: also put the programs into it that keep containers alive.

    Raises:
        UsageError: there is none for a pool's platform.
    """
    lines: dict[str, str] = {}
    for plan in plans:
        for number, planned in enumerate(plan.images, 1):
            words = (str(planned.image.reference), *planned.image.environments)
            kind = _PREVIOUS if planned.image.previous else _KEPT
            lines[f"{plan.pool.name}.{kind}.{number:04d}"] = " ".join(words)
        # No previous ones: after a rollback they are wanted, and whoever looks then would miss that.
        left_out = [out for out in plan.left_out if not out.image.previous]
        for number, out in enumerate(left_out, 1):
            lines[f"{plan.pool.name}.{_LEFT_OUT}.{number:04d}"] = str(out.image.reference)
    made: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": object_name(fleet),
            "namespace": fleet.namespace,
            "labels": own_labels(fleet),
        },
        "data": lines,
    }
    if programs:
        made["binaryData"] = {
            name: base64.b64encode(hold_program(name)).decode("ascii")
            for name in sorted({architecture(plan.pool) for plan in plans})
        }
    return made


def read_applied(config_map: Mapping[str, Any] | None) -> dict[str, Applied]:
    """What was applied, by pool; empty when nothing was.

    Raises:
        RemoteError: the ConfigMap is not as :func:`plan_object` makes it.
    """
    if config_map is None:
        return {}
    kept: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    previous: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    left_out: dict[str, list[str]] = {}
    try:
        for key, value in sorted((config_map.get("data") or {}).items()):
            pool, kind, _ = key.rsplit(".", 2)
            image, *environments = value.split()
            kept.setdefault(pool, [])
            if kind in (_KEPT, _PREVIOUS):
                told = kept if kind == _KEPT else previous
                told.setdefault(pool, []).append((image, tuple(environments)))
            else:
                left_out.setdefault(pool, []).append(image)
    except (TypeError, ValueError, AttributeError) as error:
        raise RemoteError(
            f"the ConfigMap {config_map.get('metadata', {}).get('name')} in the cluster is damaged",
            code="warm-record",
            remedy="apply the fleet again: `envbuild warm apply`",
        ) from error
    return {
        pool: Applied(tuple(images), tuple(left_out.get(pool, ())), tuple(previous.get(pool, ())))
        for pool, images in kept.items()
    }
