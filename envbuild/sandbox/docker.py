"""Steps in a container of Docker or podman: what the daemon says was touched is read from an export."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from envbuild.engine.docker import Docker
from envbuild.engine.docker_container import Confinement, Container
from envbuild.engine.model import Command
from envbuild.engine.network import lent
from envbuild.engine.trees import unpack
from envbuild.errors import RepoError
from envbuild.image.model import Image
from envbuild.progress import Reporter
from envbuild.sandbox.attached import docker_command
from envbuild.sandbox.changes import find_changes
from envbuild.sandbox.files import Found, Lower
from envbuild.sandbox.limits import memory_text, seconds_text
from envbuild.sandbox.model import Limits, Outcome, Step
from envbuild.sandbox.surroundings import require_native, variables
from envbuild.sandbox.upper import MOST_FILES, Left, scratch_directory
from envbuild.store import Store

__all__ = ["DockerSandbox"]

_CHUNK = 1 << 20
# What dpkg and maintainer scripts need to be root of.
_ROOT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETGID", "SETUID")
# What a daemon says that it can limit.
_LIMITS = {"MemoryLimit": "memory", "PidsLimit": "the number of processes"}
_DELETED = 2  # Kind of an entry in the daemon's answer; the others are files that are there


class DockerSandbox:
    """See :class:`envbuild.sandbox.model.Sandbox`.

    Parameters:
        environment: the user's variables; a step with network gets those that concern it.
    """

    def __init__(self, engine: Docker, store: Store, environment: Mapping[str, str]) -> None:
        self._engine = engine
        self._store = store
        self._environment = environment

    @property
    def name(self) -> str:
        """See :attr:`envbuild.sandbox.model.Sandbox.name`."""
        return self._engine.name

    def unavailable(self) -> str | None:
        """See :meth:`envbuild.sandbox.model.Sandbox.unavailable`."""
        reason = self._engine.unavailable()
        if reason is not None:
            return reason
        unlimited = [what for key, what in _LIMITS.items() if not self._engine.info.get(key)]
        if not unlimited:
            return None
        return (
            f"it cannot limit {' and '.join(unlimited)} here; run it as root, or let systemd delegate the"
            " controllers of cgroup version 2 to users"
        )

    @contextmanager
    def execute(self, image: Image, step: Step, reporter: Reporter) -> Iterator[Outcome]:
        """See :meth:`envbuild.sandbox.model.Sandbox.execute`."""
        require_native(image.platform, step.title)
        self._engine.prepare(image, reporter=reporter)
        network, network_mounts = lent(self._environment) if step.network else ({}, ())
        command = Command(
            tuple(step.argv),
            env=variables(step, network),
            workdir=step.workdir,
            mounts=(*step.mounts, *network_mounts),
            output=step.output,
        )
        with (
            scratch_directory(self._store) as scratch,
            self._engine.confined(image, command, _confinement(step)) as container,
        ):
            code, exceeded = _run(container, step.limits)
            if code != 0 or exceeded is not None:
                yield Outcome(code, exceeded, ())
                return
            lower = Lower(unpack(image, self._store, reporter, self._engine.bring, check=True))
            left = _read_container(container, lower, scratch)
            yield Outcome(
                code,
                exceeded,
                find_changes(
                    left.found,
                    left.removed,
                    left.replaced,
                    lower,
                    mounts={mount.target.strip("/").encode() for mount in command.mounts},
                    ignored={path.encode() for path in (*step.ignored, *_not_of(step))},
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
        self._engine.prepare(image, reporter=reporter)
        config = json.loads(self._store.read_blob(image.config.digest))["config"]
        unset = dict.fromkeys(variable.partition("=")[0] for variable in config.get("Env") or ())
        reference = self._engine.reference(image)
        wanted = {**unset, **variables}
        command = docker_command(reference, wanted, limits, argv, self._engine.daemon)
        return command, self._engine.client_environment


def _not_of(step: Step) -> tuple[str, ...]:
    """What podman may have changed, and the step cannot: podman names the users of containers."""
    return () if step.user == "root" else ("etc/passwd", "etc/group")


def _confinement(step: Step) -> Confinement:
    root = step.user == "root"
    cpus = sorted(os.sched_getaffinity(0))
    return Confinement(
        user="0:0" if root else None,
        capabilities=_ROOT_CAPABILITIES if root else (),
        network=step.network,
        memory=step.limits.memory,
        processes=step.limits.processes,
        cpus=tuple(cpus[: step.limits.cpus]) if step.limits.cpus is not None else (),
    )


def _run(container: Container, limits: Limits) -> tuple[int, str | None]:
    """Wait for the container's end: the exit code, and the limit that ended it."""
    late = threading.Event()

    def end() -> None:
        late.set()
        container.kill()

    timer = threading.Timer(limits.seconds, end)
    timer.start()
    try:
        code = container.wait()
    except BaseException:
        container.kill()
        raise
    finally:
        timer.cancel()
    if late.is_set():
        return code, seconds_text(limits)
    return code, memory_text(limits) if container.ran_out_of_memory() else None


def _read_container(container: Container, lower: Lower, scratch: Path) -> Left:
    """What a step left in a container that has ended; contents go to ``scratch``."""
    touched = container.touched()
    left = Left()
    deleted = {path for path, kind in touched.items() if kind == _DELETED}
    with (
        container.errors(),
        tarfile.open(
            fileobj=cast(IO[bytes], _Stream(container.export())),
            mode="r|",
            encoding="utf-8",
            errors="surrogateescape",
        ) as archive,
    ):
        for member in archive:
            path = member.name.strip("/").encode("utf-8", "surrogateescape")
            shown = path.decode("utf-8", "replace")  # as the daemon's JSON has it
            if shown not in touched:
                continue
            if len(left.found) > MOST_FILES:
                raise RepoError(
                    f"what ran in the sandbox left more than {MOST_FILES} files", code="too-many-files"
                )
            found = _found(archive, member, left, lower, scratch)
            if found is not None:
                left.found[path] = found
            if shown in deleted:
                deleted.discard(shown)
                left.replaced.add(path)
    left.removed.update(path.encode("utf-8", "surrogateescape") for path in deleted)
    return left


def _found(
    archive: tarfile.TarFile, member: tarfile.TarInfo, left: Left, lower: Lower, scratch: Path
) -> Found | None:
    if member.isdir():
        return Found("dir")
    if member.issym():
        return Found("symlink", target=member.linkname.encode("utf-8", "surrogateescape"))
    if member.islnk():
        target = member.linkname.strip("/").encode("utf-8", "surrogateescape")
        return left.found.get(target) or lower.get(target)
    if not member.isreg():
        return None
    place = scratch / str(len(left.found))
    content = archive.extractfile(member)
    assert content is not None
    with place.open("wb") as stream:
        shutil.copyfileobj(content, stream, _CHUNK)
    return Found("file", member.size, bool(member.mode & 0o111), place=os.fsencode(place))


class _Stream:
    """The file that :mod:`tarfile` reads an export from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, none at the end."""
        if not self._rest:
            self._rest = next((chunk for chunk in self._chunks if chunk), b"")
        data, self._rest = self._rest[:size], self._rest[size:]
        return data
