"""Configuration of a hub in the format it reads: :func:`hub_config`."""

from __future__ import annotations

from collections.abc import Mapping

from envbuild.fleet.model import Fleet, Pin
from envbuild.hub.docker import dockerspawner_config
from envbuild.hub.kubernetes import kubespawner_config
from envbuild.hub.z2jh import z2jh_values

__all__ = ["hub_config"]

_FORMATS = {
    "dockerspawner": dockerspawner_config,
    "kubespawner": kubespawner_config,
    "z2jh": z2jh_values,
}


def hub_config(form: str, fleet: Fleet, pins: Mapping[str, Pin]) -> str:
    """The text of the configuration; the same fleet and pins give the same text.

    Parameters:
        form: ``dockerspawner``, ``kubespawner`` or ``z2jh``.
        pins: of every environment (:func:`envbuild.fleet.pins.require_pins`).
    """
    return _FORMATS[form](fleet, pins)
