"""Configuration of JupyterHub with DockerSpawner: :func:`dockerspawner_config`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envbuild.fleet.model import Environment, Fleet, Pin, Pool
from envbuild.hub.offers import (
    COMMAND,
    MAY_USE,
    access,
    image_name,
    python_literal,
    server_arguments,
    shown_text,
)

__all__ = ["dockerspawner_config"]

_CODE = f'''\
import inspect

from docker.errors import NotFound
from dockerspawner import DockerSpawner
from tornado.web import HTTPError
from traitlets import default


{MAY_USE}

class EnvbuildSpawner(DockerSpawner):
    """Starts the environment that was chosen, if the owner of the server may use it."""

    def envbuild_allowed(self):
        allowed = [one for one in ENVBUILD_PROFILES if envbuild_may_use(self, one["slug"])]
        if not allowed:
            raise HTTPError(403, f"There is no environment here for {{self.user.name}}")
        return allowed

    def envbuild_chosen(self):
        """The profile and, where there is a choice, whether with GPU; what is not offered is refused."""
        allowed = self.envbuild_allowed()
        first = next((one for one in allowed if one["default"]), allowed[0])
        options = self.user_options or {{}}
        slug = options.get("profile") or first["slug"]
        profile = next((one for one in allowed if one["slug"] == slug), None)
        if profile is None:
            raise HTTPError(403, f"There is no environment of this name here for {{self.user.name}}")
        devices = options.get("devices") or profile["devices"][0]
        if devices not in profile["devices"]:
            raise HTTPError(400, "There is no such choice of devices")
        return profile, devices

    @default("options_form")
    def _envbuild_options_form(self):
        return lambda spawner: spawner.envbuild_form()

    def envbuild_form(self):
        allowed = self.envbuild_allowed()
        if len(allowed) == 1 and len(allowed[0]["devices"]) == 1:
            return ""
        first = next((one for one in allowed if one["default"]), allowed[0])
        return "\\n".join(self._envbuild_entry(one, one is first) for one in allowed)

    @staticmethod
    def _envbuild_entry(profile, checked):
        slug = profile["slug"]
        choice = ""
        if len(profile["devices"]) > 1:
            titles = {{"cpu": "without GPU", "gpu": "with GPU"}}
            options = "".join(
                f'<option value="{{one}}">{{titles[one]}}</option>' for one in profile["devices"]
            )
            choice = f'<select class="form-control" name="devices-{{slug}}">{{options}}</select>'
        return (
            f'<div class="radio"><label for="profile-{{slug}}">'
            f'<input type="radio" name="profile" id="profile-{{slug}}" value="{{slug}}"'
            f'{{" checked" if checked else ""}}> <strong>{{profile["display_name"]}}</strong></label>'
            f'<p>{{profile["description"]}}</p>{{choice}}</div>'
        )

    @default("options_from_form")
    def _envbuild_options_from_form(self):
        def options_from_form(formdata):
            slug = formdata.get("profile", [""])[0]
            return {{"profile": slug, "devices": formdata.get(f"devices-{{slug}}", [""])[0]}}

        return options_from_form

    async def start(self):
        profile, devices = self.envbuild_chosen()
        # Nothing else of what was asked for counts: not an image either.
        self.user_options = {{"profile": profile["slug"], "devices": devices}}
        before = self.__dict__.setdefault(
            "envbuild_before", {{name: getattr(self, name) for name in ENVBUILD_SETTINGS}}
        )
        for name, value in {{**before, **profile["settings"]}}.items():
            setattr(self, name, value)
        self.args = [*before["args"], *profile["settings"].get("args", [])]
        self.environment = {{**before["environment"], **profile["settings"].get("environment", {{}})}}
        if devices == "gpu":
            host = self._eval_if_callable(before["extra_host_config"])
            host = await host if inspect.isawaitable(host) else host
            request = {{"count": profile["gpu"], "capabilities": [["gpu"]]}}
            self.extra_host_config = {{**host, "device_requests": [request]}}
        return await super().start()

    async def pull_image(self, image):
        # DockerSpawner splits a name at its last colon, which is inside of the digest.
        try:
            await self.docker("inspect_image", image)
        except NotFound:
            self.log.info("pulling %s", image)
            said = await self.docker("pull", image)
            try:
                await self.docker("inspect_image", image)
            except NotFound:
                raise RuntimeError(f"{{image}} cannot be pulled: {{said[-500:]}}") from None


ENVBUILD_SETTINGS = ("image", "mem_limit", "cpu_limit", "args", "environment", "extra_host_config")
'''

_FILE = """\
# The environments of the fleet {fleet}, for JupyterHub with DockerSpawner.
# Written by `envbuild hub config --format dockerspawner`; write it anew instead of editing it.
# In jupyterhub_config.py: load_subconfig("/path/of/this/file.py")

ENVBUILD_PROFILES = {profiles}

ENVBUILD_ACCESS = {access}

{code}
c.JupyterHub.spawner_class = EnvbuildSpawner
c.DockerSpawner.cmd = [{command}]
# A container that is kept would be started again for the next server, with the image that it was made of.
c.DockerSpawner.remove = True
"""


def dockerspawner_config(fleet: Fleet, pins: Mapping[str, Pin]) -> str:
    """A file for ``load_subconfig`` in ``jupyterhub_config.py``.

    Docker knows no pools of nodes and no requests: limits count, and whether the pools have GPUs.

    Parameters:
        pins: of every environment (:func:`envbuild.fleet.pins.require_pins`).
    """
    pools = {pool.name: pool for pool in fleet.pools}
    profiles = [
        _profile(environment, image_name(pins, environment), [pools[name] for name in environment.pools])
        for environment in fleet.environments
    ]
    return _FILE.format(
        fleet=fleet.name,
        profiles=python_literal(profiles),
        access=python_literal(access(fleet)),
        code=_CODE,
        command=python_literal(COMMAND),
    )


def _profile(environment: Environment, image: str, pools: Sequence[Pool]) -> dict[str, Any]:
    resources = environment.resources
    settings = {
        "image": image,
        "mem_limit": resources.memory_limit,
        "cpu_limit": resources.cpu_limit,
        "environment": dict(environment.variables),
        "args": server_arguments(environment),
    }
    # The first is what a server gets unless the user chooses; each once.
    devices = dict.fromkeys("gpu" if pool.gpu and resources.gpu else "cpu" for pool in pools) or {"cpu": None}
    return {
        "slug": environment.name,
        "display_name": shown_text(environment.display_name or environment.name),
        "description": shown_text(environment.description),
        "default": environment.default,
        "devices": list(devices),
        "gpu": resources.gpu,
        "settings": {key: value for key, value in settings.items() if value},
    }
