"""Configuration of JupyterHub with KubeSpawner: a file of its own, or values of Zero to JupyterHub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envbuild.fleet.model import Environment, Fleet, Pin, Pool, Toleration
from envbuild.hub.offers import (
    COMMAND,
    MAY_USE,
    access,
    image_name,
    python_literal,
    server_arguments,
    shown_text,
)

__all__ = ["PROFILES_CODE", "kubespawner_config", "profile_list", "toleration_object"]

# Of the generated file. KubeSpawner calls it for the form, and again for every start with what was asked for.
PROFILES_CODE = f'''\
import copy

from tornado.web import HTTPError


{MAY_USE}

def envbuild_profiles(spawner):
    """The profiles that the owner of this server may use; KubeSpawner refuses all others."""
    options = spawner.user_options or {{}}
    # A choice without a profile is not checked by KubeSpawner, so only what the form sends is kept.
    known = ("profile", "pool") if options.get("profile") else ("profile",)
    for name in [name for name in options if name not in known]:
        del options[name]
    profiles = [
        copy.deepcopy(profile)
        for profile in ENVBUILD_PROFILES
        if envbuild_may_use(spawner, profile["slug"])
    ]
    if not profiles:
        raise HTTPError(403, f"There is no environment here for {{spawner.user.name}}")
    # KubeSpawner would call it an internal error. For the form, the choice of last time does not matter.
    chosen = (spawner.user_options or {{}}).get("profile")
    if spawner.pending == "spawn" and chosen and chosen not in [one["slug"] for one in profiles]:
        raise HTTPError(403, f"There is no environment of this name here for {{spawner.user.name}}")
    # KubeSpawner replaces lists: what the rest of the configuration has in them is kept.
    before = spawner.__dict__.setdefault(
        "envbuild_before", {{"args": list(spawner.args), "tolerations": list(spawner.tolerations)}}
    )
    for profile in profiles:
        options = profile.get("profile_options", {{}}).values()
        for part in (profile, *(choice for option in options for choice in option["choices"].values())):
            override = part.setdefault("kubespawner_override", {{}})
            for name in before.keys() & override.keys():
                override[name] = before[name] + override[name]
    return profiles


c.KubeSpawner.profile_list = envbuild_profiles
'''

_FILE = """\
# The environments of the fleet {fleet}, for JupyterHub with KubeSpawner.
# Written by `envbuild hub config --format kubespawner`; write it anew instead of editing it.
# In jupyterhub_config.py: load_subconfig("/path/of/this/file.py")

ENVBUILD_PROFILES = {profiles}

ENVBUILD_ACCESS = {access}

{code}
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.KubeSpawner.cmd = [{command}]
{more}"""


def kubespawner_config(fleet: Fleet, pins: Mapping[str, Pin]) -> str:
    """A file for ``load_subconfig`` in ``jupyterhub_config.py``.

    Parameters:
        pins: of every environment (:func:`envbuild.fleet.pins.require_pins`).
    """
    more = []
    if fleet.namespace != "default":  # otherwise the hub's own, which KubeSpawner finds
        more.append(f"c.KubeSpawner.namespace = {python_literal(fleet.namespace)}\n")
    if fleet.pull_secrets:
        more.append(f"c.KubeSpawner.image_pull_secrets = {python_literal(list(fleet.pull_secrets))}\n")
    return _FILE.format(
        fleet=fleet.name,
        profiles=python_literal(profile_list(fleet, pins)),
        access=python_literal(access(fleet)),
        code=PROFILES_CODE,
        command=python_literal(COMMAND),
        more="".join(more),
    )


def profile_list(fleet: Fleet, pins: Mapping[str, Pin]) -> list[dict[str, Any]]:
    """KubeSpawner's ``profile_list``: of JSON's types only, in the fleet's order."""
    pools = {pool.name: pool for pool in fleet.pools}
    return [
        _profile(environment, image_name(pins, environment), [pools[name] for name in environment.pools])
        for environment in fleet.environments
    ]


def _profile(environment: Environment, image: str, pools: Sequence[Pool]) -> dict[str, Any]:
    resources = environment.resources
    override = {
        "image": image,
        "cpu_guarantee": resources.cpu_request,
        "cpu_limit": resources.cpu_limit,
        "mem_guarantee": resources.memory_request,
        "mem_limit": resources.memory_limit,
        "environment": {name: _literal(value) for name, value in environment.variables},
        "args": server_arguments(environment),
    }
    profile: dict[str, Any] = {
        "slug": environment.name,
        "display_name": shown_text(environment.display_name or environment.name),
        "description": shown_text(environment.description),
        "default": environment.default,
        "kubespawner_override": override,
    }
    if len(pools) > 1:
        choices = {
            pool.name: {
                "display_name": shown_text(_pool_title(environment, pool)),
                **({"default": True} if number == 0 else {}),
                "kubespawner_override": _present(_place(environment, pool)),
            }
            for number, pool in enumerate(pools)
        }
        profile["profile_options"] = {"pool": {"display_name": "Nodes", "choices": choices}}
    else:
        override |= _place(environment, *pools)
    profile["kubespawner_override"] = _present(override)
    return _present(profile)


def _place(environment: Environment, pool: Pool | None = None) -> dict[str, Any]:
    """Where its servers run: overrides for one pool."""
    selector = dict(environment.node_selector) | dict(pool.selector if pool else ())
    tolerations = (*environment.tolerations, *(pool.tolerations if pool else ()))
    devices = environment.resources.gpu
    return {
        "node_selector": selector,
        "tolerations": [toleration_object(one) for one in tolerations],
        "extra_resource_limits": {pool.gpu: str(devices)} if pool and pool.gpu and devices else {},
    }


def _present(table: Mapping[str, Any]) -> dict[str, Any]:
    """``table`` without what says nothing."""
    return {key: value for key, value in table.items() if value not in (None, False, "", [], {})}


def _pool_title(environment: Environment, pool: Pool) -> str:
    devices = environment.resources.gpu
    if not pool.gpu or not devices:
        return pool.name
    return f"{pool.name}, with {devices} GPU{'s' if devices > 1 else ''}"


def toleration_object(toleration: Toleration) -> dict[str, Any]:
    """A toleration as it is in a pod."""
    fields = ("key", "operator", "value", "effect")
    return _present({field: getattr(toleration, field) for field in fields})


def _literal(value: str) -> str:
    """``value`` as it survives KubeSpawner's templates (``{username}``) and the kubelet's (``$(NAME)``)."""
    return value.replace("{", "{{").replace("}", "}}").replace("$", "$$")
