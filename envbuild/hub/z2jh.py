"""Values of Zero to JupyterHub: :func:`z2jh_values`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envbuild.cluster.manifest import Block, yaml_text
from envbuild.fleet.model import Environment, Fleet, Pin, Pool
from envbuild.hub.kubernetes import PROFILES_CODE, profile_list, toleration_object
from envbuild.hub.offers import COMMAND, access, image_name, python_literal

__all__ = ["chart_image", "z2jh_values"]

_HEAD = """\
# The environments of the fleet {fleet}, for Zero to JupyterHub: helm upgrade … --values THIS_FILE
# Written by `envbuild hub config --format z2jh`; write it anew instead of editing it.
# Who may use what is decided in hub.extraConfig: without it profileList is for everybody.
"""
_CODE = """\
from z2jh import get_config as envbuild_value

ENVBUILD_PROFILES = envbuild_value("singleuser.profileList")

ENVBUILD_ACCESS = {access}

{code}"""
_LONGEST_KEY = 45  # of extraImages: the names of containers are made of them


def z2jh_values(fleet: Fleet, pins: Mapping[str, Pin]) -> str:
    """YAML for ``helm --values``.

    Nodes pull images in the order of use: the chart takes ``extraImages`` in the order of their keys.

    Parameters:
        pins: of every environment (:func:`envbuild.fleet.pins.require_pins`).
    """
    images = _by_use(fleet, pins)
    first, *others = images
    image: dict[str, Any] = chart_image(images[first])
    if fleet.pull_secrets:
        image["pullSecrets"] = list(fleet.pull_secrets)
    code = _CODE.format(access=python_literal(access(fleet)), code=PROFILES_CODE)
    values: dict[str, Any] = {
        "hub": {"extraConfig": {"50-envbuild": Block(code)}},
        "singleuser": {"cmd": COMMAND, "image": image, "profileList": profile_list(fleet, pins)},
        "prePuller": {
            "pullProfileListImages": False,  # they are those below
            "extraTolerations": _tolerations(fleet),
            "extraImages": {
                f"{number:03d}-{name[:_LONGEST_KEY].rstrip('-')}": chart_image(images[name])
                for number, name in enumerate(others, start=1)
            },
        },
    }
    return _HEAD.format(fleet=fleet.name) + yaml_text([values])


def chart_image(image: str) -> dict[str, str]:
    """Name and tag whose ``name:tag`` is the image ``name@sha256:…``: the chart knows no digests.

    >>> chart_image("r.example.org/a@sha256:12ab")
    {'name': 'r.example.org/a@sha256', 'tag': '12ab'}
    """
    name, _, tag = image.rpartition(":")
    return {"name": name, "tag": tag}


def _tolerations(fleet: Fleet) -> list[dict[str, Any]]:
    """Of everything that is offered: images go to all nodes that servers may go to."""
    parts: tuple[Pool | Environment, ...] = (*fleet.pools, *fleet.environments)
    found = dict.fromkeys(toleration for part in parts for toleration in part.tolerations)
    return [toleration_object(toleration) for toleration in found]


def _by_use(fleet: Fleet, pins: Mapping[str, Pin]) -> dict[str, str]:
    """Environment -> image, each image once, the most used first."""
    found: dict[str, str] = {}
    for environment in sorted(fleet.environments, key=lambda one: (not one.default, -one.launches)):
        image = image_name(pins, environment)
        if image not in found.values():
            found[environment.name] = image
    return found
