"""Kernelspecs: how Jupyter finds and starts the environment's kernel.

Format: jupyter_client's ``kernel.json`` (https://jupyter-client.readthedocs.io/en/stable/kernels.html).
"""

from __future__ import annotations

import json
import re
from typing import Any

from envbuild.kernel.languages import Way
from envbuild.pack import recipe

__all__ = ["kernel_json", "kernel_names", "other_kernel_json", "valid_kernel_name"]

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def valid_kernel_name(name: str) -> bool:
    """Whether ``name`` may be a kernelspec's directory.

    >>> valid_kernel_name("python3"), valid_kernel_name("../../etc"), valid_kernel_name("..")
    (True, False, False)
    """
    return _NAME.fullmatch(name) is not None and name.strip(".") != ""


def kernel_names(project: str, notebooks: tuple[str, ...]) -> tuple[str, ...]:
    """The kernelspecs an environment has: ``python3``, the project's own, one per name notebooks use.

    Names that differ only in case are one to Jupyter, so the first in sorted order stands for all.
    """
    names: dict[str, str] = {}
    for name in ("python3", project, *sorted(notebooks)):
        if valid_kernel_name(name):
            names.setdefault(name.lower(), name)
    return tuple(sorted(names.values()))


def kernel_json(display_name: str) -> bytes:
    """The ``kernel.json`` of a Python kernel in the environment; no shell, nothing from ``$HOME``."""
    content = {
        "argv": [f"/{recipe.ENV_PREFIX}/bin/python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": display_name,
        "env": dict(recipe.PYTHON_KERNEL_VARIABLES),
        "language": "python",
        "metadata": {"debugger": True},
    }
    return _written(content)


def other_kernel_json(way: Way) -> bytes:
    """The ``kernel.json`` of a kernel of another language."""
    content: dict[str, Any] = {
        "argv": list(way.argv),
        "display_name": way.display_name,
        "language": way.language_name,
    }
    if way.variables:
        content["env"] = dict(way.variables)
    return _written(content)


def _written(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
