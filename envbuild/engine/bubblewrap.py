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

from envbuild.engine.bubblewrap_container import Contained
from envbuild.engine.bubblewrap_tool import find_bubblewrap
from envbuild.engine.model import Command
from envbuild.engine.mount_points import check_mount_points
from envbuild.engine.trees import unpack
from envbuild.engine.unpacked import Unpacked
from envbuild.errors import MachineError
from envbuild.image.finding import Bring, all_here
from envbuild.image.model import Image
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
        return self.unpacked(image, [mount.target for mount in command.mounts]).start(command)

    def unpacked(self, image: Image, targets: Iterable[str]) -> Unpacked:
        """``image``, which was prepared, ready to be started with mounts at ``targets`` (absolute paths).

        Raises:
            RepoError: one of them is behind a link of the image.
            MachineError: bubblewrap does not work here.
        """
        config = json.loads(self._store.read_blob(image.config.digest))["config"]
        trees = unpack(image, self._store, Silent(), self.bring)
        check_mount_points(trees, targets)
        return Unpacked(
            self.tool(),
            tuple(map(str, trees)),
            tuple(config.get("Env") or ()),
            tuple(config.get("Entrypoint") or ()),
        )
