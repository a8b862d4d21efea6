"""What a hub offers, whatever starts its servers: images by digest, who may use them, when they end."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

from envbuild.fleet.model import Environment, Fleet, Pin

__all__ = ["COMMAND", "access", "image_name", "python_literal", "server_arguments", "shown_text"]

# The command of envbuild's own images is JupyterLab by itself; other images have other ones.
COMMAND = "jupyterhub-singleuser"

_LONGEST_INTERVAL = 60
_WIDTH = 100

# Of the generated file. Who may use an environment is looked up here for every form and every start.
MAY_USE = '''\
def envbuild_may_use(spawner, name):
    """Whether the owner of this server may use the environment: an unknown one never."""
    if name not in ENVBUILD_ACCESS:
        return False
    users, groups = (ENVBUILD_ACCESS[name][kind] for kind in ("users", "groups"))
    if not users and not groups:
        return True
    # Names as the hub's authenticator writes them: mostly in lower case.
    normalize = spawner.authenticator.normalize_username
    own_groups = {group.name for group in spawner.user.groups}
    return spawner.user.name in {normalize(user) for user in users} or not own_groups.isdisjoint(groups)
'''


def image_name(pins: Mapping[str, Pin], environment: Environment) -> str:
    """The image of ``environment`` by its digest alone; a tag could say something else."""
    reference = pins[environment.name].reference
    return f"{reference.name}@{reference.digest}"


def access(fleet: Fleet) -> dict[str, dict[str, list[str]]]:
    """Who may use each environment; no users and no groups is everybody."""
    return {
        environment.name: {"users": sorted(environment.users), "groups": sorted(environment.groups)}
        for environment in fleet.environments
    }


def server_arguments(environment: Environment) -> list[str]:
    """What is said to the Jupyter server: that it ends itself when nobody uses it for the idle timeout.

    The hub's own culler has one timeout for all servers. A server ends when it has no kernels and no
    terminals, so these are ended for being idle, too, also when a forgotten page shows them; a cell that
    runs is never interrupted.
    """
    timeout = environment.idle_timeout
    if timeout is None:
        return []
    interval = min(_LONGEST_INTERVAL, timeout)
    return [
        f"--ServerApp.shutdown_no_activity_timeout={timeout}",
        f"--MappingKernelManager.cull_idle_timeout={timeout}",
        f"--MappingKernelManager.cull_interval={interval}",
        "--MappingKernelManager.cull_connected=True",
        f"--TerminalManager.cull_inactive_timeout={timeout}",
        f"--TerminalManager.cull_interval={interval}",
    ]


def shown_text(text: str) -> str:
    """``text`` for a page: harmless in HTML, and in a template of Jinja that it may become part of."""
    escaped = html.escape(text).replace("{", "&#123;").replace("}", "&#125;")
    return escaped.replace("%", "&#37;").replace("\n", "<br>")


def python_literal(value: Any, indent: str = "") -> str:
    """``value`` (dictionaries, lists, texts, numbers) as Python: a line for each element, or one if they fit.

    >>> python_literal({"a": [1, True]})
    '{"a": [1, True]}'
    """
    flat = _flat(value)
    if len(indent) + len(flat) <= _WIDTH or not isinstance(value, dict | list):
        return flat
    inner = indent + "    "
    if isinstance(value, dict):
        lines = [f"{_flat(key)}: {python_literal(item, inner)}" for key, item in value.items()]
    else:
        lines = [python_literal(item, inner) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return "\n".join([opening, *(f"{inner}{line}," for line in lines), indent + closing])


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flat(key)}: {_flat(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flat, value)) + "]"
    # JSON's way to write a text is one of Python's (with all letters as they are), always in the same quotes.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
