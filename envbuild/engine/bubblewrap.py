"""The embedded engine: bubblewrap over unpacked layers. No daemon, no root, nothing installed.

The process sees the image with a temporary layer on top, its mounts, and the host's network. It is user
1000 of group 100 inside and the calling user outside. Everything it starts lives in its own PID namespace
and ends with its first process, which ends with the thread that started it.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable
from pathlib import Path

from envbuild.engine.bubblewrap_container import (
    KERNEL_FILES,
    Contained,
    environment_options,
    mount_options,
)
from envbuild.engine.bubblewrap_tool import find_bubblewrap
from envbuild.engine.model import Command
from envbuild.engine.mount_points import check_mount_points
from envbuild.engine.terminal import TERM, gets_terminal
from envbuild.engine.trees import unpack
from envbuild.errors import MachineError
from envbuild.image.finding import Bring, all_here
from envbuild.image.model import Image
from envbuild.pack import recipe
from envbuild.progress import Reporter, Silent
from envbuild.store import Store

__all__ = ["Bubblewrap"]


class Bubblewrap:
    """See :class:`envbuild.engine.model.Engine`.

    Parameters:
        install: see :func:`envbuild.engine.bubblewrap_tool.find_bubblewrap`.
        bring: gets layers that have to be unpacked into the store.
    """

    name = "bubblewrap"
    listen_address = "127.0.0.1"  # the network is the host's
    runs_as_caller = True

    def __init__(self, store: Store, install: Callable[[Path], None], bring: Bring = all_here) -> None:
        self.bring = bring
        self._store = store
        self._install = install
        self._tool: tuple[str, ...] = ()

    def unavailable(self) -> str | None:
        """See :meth:`envbuild.engine.model.Engine.unavailable`."""
        if platform.system() != "Linux":
            return f"it needs Linux, this is {platform.system()}"
        self._tool, reason = find_bubblewrap(self._store, self._install)
        return reason

    def prepare(self, image: Image, *, reporter: Reporter) -> None:
        """Unpack the layers that were not unpacked before."""
        unpack(image, self._store, reporter, self.bring)

    def tool(self) -> tuple[str, ...]:
        """How bubblewrap is started.

        Raises:
            MachineError: it does not work here.
        """
        if not self._tool and (reason := self.unavailable()):
            raise MachineError(f"bubblewrap does not work here: {reason}", code="engine-unavailable")
        return self._tool

    def start(self, image: Image, command: Command) -> Contained:
        """See :meth:`envbuild.engine.model.Engine.start`."""
        config = json.loads(self._store.read_blob(image.config.digest))["config"]
        trees = unpack(image, self._store, Silent(), self.bring)
        check_mount_points(trees, [mount.target for mount in command.mounts])
        options = [
            *_namespaces(),
            *_root(trees),
            *mount_options(command.mounts),
            *environment_options(config.get("Env") or (), _terminal(command), command.env),
            *("--chdir", command.workdir),
        ]
        argv = [*(config.get("Entrypoint") or ()), *command.argv]
        return Contained(self.tool(), options, argv, command)


def _namespaces() -> list[str]:
    user = ["--unshare-user", "--uid", str(recipe.UID), "--gid", str(recipe.GID)]
    # The image's own init (tini) is process 1: it gets our signals and reaps what is orphaned.
    return ["--unshare-all", "--share-net", *user, "--die-with-parent", "--as-pid-1"]


def _root(trees: Iterable[Path]) -> list[str]:
    options = []
    for tree in trees:
        options += ["--overlay-src", str(tree)]
    options += ["--tmp-overlay", "/", *KERNEL_FILES, "--dev", "/dev", "--ro-bind-try", "/sys", "/sys"]
    options += ["--perms", "1777", "--tmpfs", "/tmp"]
    for file in ("/etc/resolv.conf", "/etc/hosts"):
        options += ["--ro-bind-try", file, file]
    return options


def _terminal(command: Command) -> dict[str, str]:
    return {"TERM": TERM} if gets_terminal(command) else {}
