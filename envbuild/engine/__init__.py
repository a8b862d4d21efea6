"""Where images run: bubblewrap (embedded), Docker and podman, behind one Protocol."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envbuild.engine.bubblewrap import Bubblewrap
    from envbuild.engine.choice import choose
    from envbuild.engine.docker import Docker
    from envbuild.engine.model import Command, Engine, Mount, Running
    from envbuild.engine.podman import Podman

__all__ = ["Bubblewrap", "Command", "Docker", "Engine", "Mount", "Podman", "Running", "choose"]

# Imported when they are asked for: whoever starts a kernel needs none of the engines, and is in a hurry.
_MODULES = {"Bubblewrap": "bubblewrap", "choose": "choice", "Docker": "docker", "Podman": "podman"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'model')}"), name)
