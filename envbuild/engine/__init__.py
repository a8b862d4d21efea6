"""Where images run: bubblewrap (embedded), Docker and podman, behind one Protocol."""

from envbuild.engine.bubblewrap import Bubblewrap
from envbuild.engine.choice import choose
from envbuild.engine.docker import Docker
from envbuild.engine.model import Command, Engine, Mount, Running
from envbuild.engine.podman import Podman

__all__ = ["Bubblewrap", "Command", "Docker", "Engine", "Mount", "Podman", "Running", "choose"]
