"""Where images run: bubblewrap (embedded) and Docker, behind one Protocol."""

from envbuild.engine.bubblewrap import Bubblewrap
from envbuild.engine.choice import choose
from envbuild.engine.docker import Docker
from envbuild.engine.model import Command, Engine, Mount, Running

__all__ = ["Bubblewrap", "Command", "Docker", "Engine", "Mount", "Running", "choose"]
