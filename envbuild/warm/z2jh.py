"""Warm nodes with Zero to JupyterHub's own puller: Helm values.

Its DaemonSet pulls every image on every node for users, one after the other, and runs ``/bin/sh`` in each as
user 65534; so pools are not told apart, and images without a shell are not for it. It writes an image as
``name:tag``; a digest is put in by cutting ``sha256:…`` at that colon. Helm goes through them by their keys,
which therefore begin with the image's place in the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from envbuild.fleet.model import Fleet
from envbuild.hub.z2jh import chart_image
from envbuild.warm.daemonset import image_name
from envbuild.warm.engines import pinned_name
from envbuild.warm.planner import PlannedImage, PoolPlan

__all__ = ["z2jh_values"]

_LONGEST_NAME: Final = 52  # of a container's 63 characters, the chart needs the others


def z2jh_values(fleet: Fleet, plans: Sequence[PoolPlan]) -> dict[str, Any]:
    """The values, in order of the images' use; an image of several pools is in them once."""
    images: dict[str, PlannedImage] = {}
    for plan in plans:
        for planned in plan.images:
            known = images.get(str(planned.image.reference))
            # What is a previous image in one pool may be an environment's in another.
            if known is None or planned.image.previous < known.image.previous:
                images[str(planned.image.reference)] = planned
    ordered = sorted(images.values(), key=lambda planned: (planned.image.rank, image_name(planned)))
    values: dict[str, Any] = {
        "prePuller": {
            "continuous": {"enabled": True},
            "extraImages": {
                f"{number:04d}-{image_name(planned)}"[:_LONGEST_NAME].rstrip("-"): chart_image(
                    pinned_name(planned.image.reference)
                )
                for number, planned in enumerate(ordered, 1)
            },
            "hook": {"enabled": True},
        }
    }
    if fleet.pull_secrets:
        values["imagePullSecrets"] = list(fleet.pull_secrets)
    return values
