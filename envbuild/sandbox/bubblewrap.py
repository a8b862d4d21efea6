"""Steps in bubblewrap: overlayfs keeps what a step changes in directories of ours.

Root of the sandbox is user 0 of a user namespace in which no other user exists; system calls that need
others do nothing (:mod:`envbuild.sandbox.seccomp`). It may write everywhere. The image's user may write where
it may in a container of any other engine: in the directories that are its own, each an overlay of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from envbuild.engine.bubblewrap import Bubblewrap
from envbuild.engine.bubblewrap_container import (
    KERNEL_FILES,
    Contained,
    environment_options,
    mount_options,
)
from envbuild.engine.model import Command, Mount
from envbuild.engine.mount_points import check_mount_points
from envbuild.engine.network import lent
from envbuild.engine.trees import unpack
from envbuild.errors import MachineError
from envbuild.image.model import Image
from envbuild.pack import recipe
from envbuild.progress import Reporter
from envbuild.sandbox.attached import bubblewrap_command
from envbuild.sandbox.ceiling import bounded
from envbuild.sandbox.changes import find_changes
from envbuild.sandbox.files import Lower
from envbuild.sandbox.limits import Guard, on_cpus
from envbuild.sandbox.model import Limits, Outcome, Step
from envbuild.sandbox.seccomp import fake_root_filter
from envbuild.sandbox.surroundings import WRITABLE, require_native, variables
from envbuild.sandbox.upper import Left, read_upper, scratch_directory
from envbuild.source.log import last_lines
from envbuild.store import Store

__all__ = ["BubblewrapSandbox"]

_SHARED_MEMORY_BYTES = 64 << 20  # what Docker gives
_TEMPORARY = ("tmp", "run", "var/tmp")
_NETWORK_FILES = ("etc/resolv.conf", "etc/hosts")


class BubblewrapSandbox:
    """See :class:`envbuild.sandbox.model.Sandbox`.

    Parameters:
        environment: the user's variables; a step with network gets those that concern it.
    """

    name = "bubblewrap"

    def __init__(self, engine: Bubblewrap, store: Store, environment: Mapping[str, str]) -> None:
        self._engine = engine
        self._store = store
        self._environment = environment

    def unavailable(self) -> str | None:
        """See :meth:`envbuild.sandbox.model.Sandbox.unavailable`."""
        return self._engine.unavailable()

    @contextmanager
    def execute(self, image: Image, step: Step, reporter: Reporter) -> Iterator[Outcome]:
        """See :meth:`envbuild.sandbox.model.Sandbox.execute`."""
        require_native(image.platform, step.title)
        trees = unpack(image, self._store, reporter, self._engine.bring, check=True)
        lower = Lower(trees)
        config = json.loads(self._store.read_blob(image.config.digest))["config"]
        network, network_mounts = lent(self._environment) if step.network else ({}, ())
        mounts = (*step.mounts, *network_mounts)
        check_mount_points(trees, [mount.target for mount in mounts])
        with scratch_directory(self._store) as scratch:
            overlays = _Overlays(scratch, lower, [""] if step.user == "root" else WRITABLE, mounts)
            options = [
                *_namespaces(root=step.user == "root", network=step.network),
                *overlays.options,
                *_devices(scratch),
                *mount_options(mounts),
                *(_network() if step.network else ()),
                *environment_options(config.get("Env") or (), variables(step, network)),
                *("--chdir", step.workdir),
            ]
            code, exceeded = _run(self._engine.tool(), options, step)
            if code != 0 or exceeded is not None:
                yield Outcome(code, exceeded, ())
                return
            left = overlays.read()
            yield Outcome(
                code,
                exceeded,
                find_changes(
                    left.found,
                    left.removed,
                    left.replaced,
                    lower,
                    mounts={mount.target.strip("/").encode() for mount in mounts},
                    ignored={path.encode() for path in step.ignored},
                ),
            )

    def attached(
        self,
        image: Image,
        argv: Sequence[str],
        variables: Mapping[str, str],
        limits: Limits,
        reporter: Reporter,
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        """See :meth:`envbuild.sandbox.model.Sandbox.attached`."""
        require_native(image.platform, argv[0])
        trees = unpack(image, self._store, reporter, self._engine.bring, check=True)
        check_mount_points(trees, ())
        options = [
            *_namespaces(root=False, network=False),
            *(word for tree in trees for word in ("--overlay-src", str(tree))),
            *("--ro-overlay", "/", "--dev", "/dev"),
            *environment_options((), variables),
            *("--chdir", "/"),
        ]
        return bubblewrap_command(self._engine.tool(), options, limits, argv), {}


class _Overlays:
    """The image's files with directories of ours on top, at the places that may be written."""

    def __init__(self, scratch: Path, lower: Lower, writable: Sequence[str], mounts: Sequence[Mount]) -> None:
        self._uppers: list[tuple[str, Path]] = []
        self.options: list[str] = []
        root = (os.fsencode(_mount_points(scratch / "points", mounts)), *lower.places(b""))
        if "" not in writable:
            self._add(root, "--ro-overlay", "/")
        for place in writable:
            sources = lower.places(place.encode()) if place else root
            if sources:
                upper, work = (scratch / f"{kind}-{len(self._uppers)}" for kind in ("upper", "work"))
                upper.mkdir(mode=0o755)
                work.mkdir()
                self._uppers.append((place, upper))
                self._add(sources, "--overlay", str(upper), str(work), f"/{place}")

    def _add(self, sources: Sequence[bytes], *overlay: str) -> None:
        for source in sources:
            self.options += ["--overlay-src", os.fsdecode(source)]
        self.options += overlay

    def read(self) -> Left:
        """What the step left in the upper directories."""
        left = Left()
        for place, upper in self._uppers:
            read_upper(upper, place, left)
        return left


def _mount_points(directory: Path, mounts: Sequence[Mount]) -> Path:
    """A directory for below the image, with the places that are mounted over: bwrap need not make them."""
    for place in ("proc", "dev", *_TEMPORARY):
        (directory / place).mkdir(parents=True)
    for file in _NETWORK_FILES:
        (directory / file).parent.mkdir(exist_ok=True)
        (directory / file).touch()
    for mount in mounts:
        target = directory / mount.target.strip("/")
        if mount.source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
    return directory


def _namespaces(*, root: bool, network: bool) -> list[str]:
    uid, gid = (0, 0) if root else (recipe.UID, recipe.GID)
    options = ["--unshare-all", "--unshare-user", "--disable-userns", "--uid", str(uid), "--gid", str(gid)]
    options += ["--hostname", "envbuild", "--die-with-parent", "--as-pid-1", "--cap-drop", "ALL"]
    if root:
        options += ["--cap-add", "CAP_DAC_OVERRIDE"]
    return options + (["--share-net"] if network else [])


def _devices(scratch: Path) -> list[str]:
    options = [*KERNEL_FILES, "--dev", "/dev", "--remount-ro", "/dev"]
    options += ["--size", str(_SHARED_MEMORY_BYTES), "--perms", "1777", "--tmpfs", "/dev/shm"]
    for place in _TEMPORARY:  # on the disk: memory is limited
        directory = scratch / "temporary" / place
        directory.mkdir(parents=True)
        directory.chmod(0o1777)
        options += ["--bind", str(directory), f"/{place}"]
    return options


def _network() -> list[str]:
    options = []
    for file in _NETWORK_FILES:
        options += ["--ro-bind-try", f"/{file}", f"/{file}"]
    return options


def _run(tool: Sequence[str], options: list[str], step: Step) -> tuple[int, str | None]:
    """Run the step to its end: the exit code, and the limit that ended it."""
    command = Command(tuple(step.argv), output=step.output)
    with ExitStack() as opened:
        status_reader, status_writer = os.pipe()
        status = opened.enter_context(os.fdopen(status_reader, "rb"))
        descriptors = [status_writer]
        options += ["--json-status-fd", str(status_writer)]
        if step.user == "root":
            program = opened.enter_context(os.fdopen(os.memfd_create("filter"), "wb"))
            program.write(fake_root_filter())
            program.flush()
            program.seek(0)
            descriptors.append(program.fileno())
            options += ["--seccomp", str(program.fileno())]
        # Entered first, so left last: a group goes when its processes are gone.
        start = opened.enter_context(bounded(tool, step.limits))
        with on_cpus(step.limits.cpus):
            try:
                running = Contained(start, options, step.argv, command, descriptors)
            finally:
                os.close(status_writer)
        opened.enter_context(running)
        exceeded = _wait(running, step)
        code = running.wait()
        if exceeded is None and b'"exit-code"' not in status.read():
            raise MachineError(
                f"bubblewrap cannot run {step.title}: {last_lines(step.output)}", code="sandbox-failed"
            )
    return code, exceeded


def _wait(running: Contained, step: Step) -> str | None:
    try:
        if running.first_process is None:
            return None
        with Guard(running.first_process, step.limits, running.kill) as guard:
            running.wait()
        return guard.exceeded
    finally:
        running.kill()  # of an interrupted step nothing is kept: it need not end in its own time
