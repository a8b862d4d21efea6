"""An image that bubblewrap can start at once: all there is to know about it, small enough to be kept.

Kernels start many times a day, and whoever waits for one notices a tenth of a second. Nothing of an image has
to be read for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from envbuild.engine.bubblewrap_container import (
    KERNEL_FILES,
    Contained,
    environment_options,
    mount_options,
)
from envbuild.engine.terminal import TERM, gets_terminal
from envbuild.pack import recipe

if TYPE_CHECKING:
    from envbuild.engine.model import Command

__all__ = ["Unpacked"]


@dataclass(frozen=True, slots=True)
class Unpacked:
    """An unpacked image.

    Parameters:
        tool: how bubblewrap is started.
        trees: the directories that make up its files, bottom to top.
        environment: the variables of its config, ``NAME=value``.
        entrypoint: what its config has every process begin with.
    """

    tool: tuple[str, ...]
    trees: tuple[str, ...]
    environment: tuple[str, ...]
    entrypoint: tuple[str, ...]

    def start(self, command: Command) -> Contained:
        """See :meth:`envbuild.engine.model.Engine.start`; the places of its mounts were checked."""
        options = [
            *_namespaces(),
            *_root(self.trees),
            *mount_options(command.mounts),
            *environment_options(self.environment, _terminal(command), command.env),
            *("--chdir", command.workdir),
        ]
        return Contained(self.tool, options, [*self.entrypoint, *command.argv], command)


def _namespaces() -> list[str]:
    user = ["--unshare-user", "--uid", str(recipe.UID), "--gid", str(recipe.GID)]
    # The image's own init (tini) is process 1: it gets our signals and reaps what is orphaned.
    return ["--unshare-all", "--share-net", *user, "--die-with-parent", "--as-pid-1"]


def _root(trees: Iterable[str]) -> list[str]:
    options = []
    for tree in trees:
        options += ["--overlay-src", tree]
    options += ["--tmp-overlay", "/", *KERNEL_FILES, "--dev", "/dev", "--ro-bind-try", "/sys", "/sys"]
    options += ["--perms", "1777", "--tmpfs", "/tmp"]
    for file in ("/etc/resolv.conf", "/etc/hosts"):
        options += ["--ro-bind-try", file, file]
    return options


def _terminal(command: Command) -> dict[str, str]:
    return {"TERM": TERM} if gets_terminal(command) else {}
