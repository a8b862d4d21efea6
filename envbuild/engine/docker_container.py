"""A process in a Docker container."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from envbuild.engine import docker_session
from envbuild.engine.memory import killed_for_memory
from envbuild.engine.model import GRACE_SECONDS, Command
from envbuild.engine.terminal import TerminalRelay, gets_terminal
from envbuild.errors import MachineError
from envbuild.pack import recipe

__all__ = ["Confinement", "Container", "Daemon", "docker_errors", "docker_failed"]

_EXPORT_CHUNK = 1 << 20
_KILLED = 137
_LOOK_SECONDS = 0.1
_REST_SECONDS = 60  # for output that is still on its way when its container has gone
# For a process that ends with ours: our end of the container's standard input is closed by our end, whatever
# that was, and then all is killed. Who waits for that is no child of the process, and no signal but that one
# ends it.
_TIED = """
exec 3<&0 </dev/null
( (trap '' HUP INT TERM; cat <&3 >/dev/null; kill -s KILL -- -1) 2>/dev/null & )
exec 3<&-
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a container gets that runs a step of a build.

    Parameters:
        user: ``uid:gid``; None: the image's own.
        capabilities: in its namespaces, without ``CAP_``.
        network: whether it has one.
        memory: bytes, swap included.
        processes: how many.
        cpus: their numbers; none given: all.
        read_only: whether it can change none of the image's files.
    """

    user: str | None
    capabilities: tuple[str, ...]
    network: bool
    memory: int
    processes: int
    cpus: tuple[int, ...]
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Daemon:
    """What is particular about what speaks Docker's API here.

    Parameters:
        title: its name in messages.
        rootless: it is not root: root of its containers is the user whose daemon it is.
        tells_memory: it tells which containers were ended for lack of memory.
        adds: variables that it gives to all containers and that steps of a build do not get.
        unsets: it takes a variable without a value away; otherwise the service's own value would be seen.
        waits_idly: to be asked to wait for an end costs it nothing.
    """

    title: str = "Docker"
    rootless: bool = False
    tells_memory: bool = True
    adds: tuple[str, ...] = ()
    unsets: bool = True
    waits_idly: bool = True


class Container:
    """A process in a container; see :class:`envbuild.engine.model.Running`.

    Parameters:
        reference: the image's name for the daemon.
        confinement: for a step of a build, whose program runs without the image's entry point.
    """

    def __init__(
        self,
        client: Any,
        reference: str,
        command: Command,
        confinement: Confinement | None = None,
        daemon: Daemon = Daemon(),
    ) -> None:
        self._api = client.api
        self._daemon = daemon
        self._code: int | None = None
        self._output: threading.Thread | None = None
        self._is_step = confinement is not None
        self._killed_before = killed_for_memory()
        self._resources = ExitStack()
        terminal = gets_terminal(command)
        self._id = self._create(reference, command, terminal, confinement)
        try:
            self._attach(command, terminal)
            self._api.start(self._id)
            if terminal:
                self._resources.enter_context(TerminalRelay(self._socket.fileno(), self._resize))
            else:
                self._carry(command)
        except BaseException:
            self._remove()
            raise

    def _create(
        self, reference: str, command: Command, terminal: bool, confinement: Confinement | None
    ) -> str:
        from docker.types import Mount

        for mount in command.mounts:
            if not mount.source.exists():  # podman would make it
                raise docker_failed(f"{mount.source} does not exist", self._daemon.title)
        mounts = [
            Mount(mount.target, str(mount.source), type="bind", read_only=not mount.writable)
            for mount in command.mounts
        ]
        ports = {port: ("127.0.0.1", port) for port in command.ports}
        step, host = (
            _step_options(command, confinement, self._daemon) if confinement is not None else ({}, {})
        )
        if mounts:
            # Without this, SELinux hides what is mounted; the other way is to relabel the user's own files.
            host["security_opt"] = [*host.get("security_opt", ()), "label=disable"]
        if confinement is None and command.owner is not None and not self._daemon.rootless:
            # Whoever is in this group may install packages, whatever their number is (docs/image.md).
            host["group_add"] = ["0"]
        if command.memory is not None:
            host |= {"mem_limit": command.memory, "memswap_limit": command.memory}
        created = self._api.create_container(
            reference,
            environment={
                name: value for name, value in command.env.items() if value is not None or self._daemon.unsets
            },
            working_dir=command.workdir,
            ports=list(ports),
            stdin_open=command.stdin or command.tied,
            tty=terminal,
            labels=docker_session.labels(),
            host_config=self._api.create_host_config(
                mounts=mounts, port_bindings=ports, cap_drop=["ALL"], **host
            ),
            **(step or _start_options(command, self._daemon.rootless)),
        )
        identifier: str = created["Id"]
        return identifier

    def _attach(self, command: Command, terminal: bool) -> None:
        # Before the start, so that nothing is missed.
        self._socket = self._api.attach_socket(
            self._id, {"stdin": int(command.stdin or command.tied), "stdout": 1, "stderr": 1, "stream": 1}
        )
        # The SDK gives a reader of the socket; what has to be closed is the response that it came with.
        self._resources.callback(self._socket._response.close)

    def _carry(self, command: Command) -> None:
        """Carry output, and input if wanted, until the container's end."""
        from docker.utils.socket import frames_iter

        targets = {1: 1, 2: 2}
        if command.output is not None:
            stream = self._resources.enter_context(command.output.open("ab"))
            targets = {1: stream.fileno(), 2: stream.fileno()}

        def carry_output() -> None:
            with suppress(OSError, ValueError):
                for kind, data in frames_iter(self._socket, tty=False):
                    _write(targets[kind], data)

        def carry_input() -> None:
            with suppress(OSError, ValueError):
                while data := os.read(0, 1 << 16):
                    _write(self._socket.fileno(), data)
                getattr(self._socket, "_sock", self._socket).shutdown(socket.SHUT_WR)

        self._output = threading.Thread(target=carry_output, name="output", daemon=True)
        self._output.start()
        self._resources.callback(self._output.join, _REST_SECONDS)
        if command.stdin:
            threading.Thread(target=carry_input, name="input", daemon=True).start()

    def _resize(self, columns: int, rows: int) -> None:
        self._api.resize(self._id, height=rows, width=columns)

    def errors(self) -> AbstractContextManager[None]:
        """Turns what the SDK raises into errors with a remedy."""
        return docker_errors(self._daemon.title)

    def poll(self) -> int | None:
        """See :meth:`envbuild.engine.model.Running.poll`."""
        if self._code is None:
            with self.errors():
                state = self._state()
                if _has_ended(state):
                    self._end(int(state["ExitCode"]))
        return self._code

    def wait(self) -> int:
        """See :meth:`envbuild.engine.model.Running.wait`."""
        if self._code is None:
            with self.errors():
                while not self._daemon.waits_idly and not _has_ended(self._state()):
                    time.sleep(_LOOK_SECONDS)
                self._end(int(self._api.wait(self._id, timeout=None)["StatusCode"]))
        assert self._code is not None
        return self._code

    def _end(self, code: int) -> None:
        """Who is told that it has ended finds all that it said."""
        if self._output is not None:
            self._output.join(_REST_SECONDS)
        self._code = code

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._api.inspect_container(self._id)["State"]
        return state

    def send_signal(self, number: int) -> None:
        """See :meth:`envbuild.engine.model.Running.send_signal`; the image's init passes it on."""
        from docker.errors import APIError

        with suppress(APIError):  # it has ended
            self._api.kill(self._id, signal=number)

    def terminate(self, grace: float = GRACE_SECONDS) -> None:
        """See :meth:`envbuild.engine.model.Running.terminate`."""
        from docker.errors import NotFound

        with self.errors(), suppress(NotFound):
            self._api.stop(self._id, timeout=max(1, round(grace)))

    def kill(self) -> None:
        """End it at once. May be called while another thread waits."""
        from docker.errors import APIError

        with suppress(APIError):  # it has ended
            self._api.kill(self._id)

    def ran_out_of_memory(self) -> bool:
        """See :meth:`envbuild.engine.model.Running.ran_out_of_memory`."""
        if not self._daemon.tells_memory:
            # Nothing inside can kill a container's first process: when we did not, it was the kernel. But
            # where that is an init, the code is that of the process it started.
            return self.wait() == _KILLED and (self._is_step or killed_for_memory() > self._killed_before)
        with self.errors():
            return bool(self._api.inspect_container(self._id)["State"]["OOMKilled"])

    def touched(self) -> dict[str, int]:
        """What is not as in the image, whether or not it really differs: relative path -> kind.

        Kinds are 0 (changed), 1 (added) and 2 (removed, or removed and made anew).
        """
        with self.errors():
            return {entry["Path"].strip("/"): entry["Kind"] for entry in self._api.diff(self._id) or ()}

    def export(self) -> Iterator[bytes]:
        """All of its files as a tar stream; mounts are empty in it."""
        chunks: Iterator[bytes] = self._api.export(self._id, chunk_size=_EXPORT_CHUNK)
        return chunks

    def _remove(self) -> None:
        from docker.errors import NotFound

        with suppress(NotFound):
            self._api.remove_container(self._id, force=True, v=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._code is None:
                self.terminate()
        finally:
            with self.errors():
                self._remove()
            self._resources.close()


def _has_ended(state: Mapping[str, Any]) -> bool:
    return not state["Running"] and state["Status"] != "created"


def _start_options(command: Command, rootless: bool) -> dict[str, Any]:
    owner = None if command.owner is None else f"{command.owner}:{recipe.GID}"
    if owner is not None and rootless:
        owner = "0:0"  # the calling user, outside; the image's users are nobody who owns a file there
    argv = ["sh", "-c", _TIED, "sh", *command.argv] if command.tied else list(command.argv)
    return {"command": argv, "user": owner}


def _step_options(
    command: Command, confinement: Confinement, daemon: Daemon
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What makes a container that of a step: of the container, and of its host."""
    names = list(daemon.adds)
    if not daemon.unsets:
        names += [name for name, value in command.env.items() if value is None]
    without = ["env", *(part for name in names for part in ("-u", name))] if names else []
    container = {
        "entrypoint": [*without, *command.argv],
        "user": confinement.user,
        "hostname": "envbuild",
    }
    host: dict[str, Any] = {
        "cap_add": list(confinement.capabilities),
        "security_opt": ["no-new-privileges"],
        "mem_limit": confinement.memory,
        "memswap_limit": confinement.memory,
        "pids_limit": confinement.processes,
        "read_only": confinement.read_only,
    }
    if not confinement.network:
        host["network_mode"] = "none"
    if confinement.cpus:
        host["cpuset_cpus"] = ",".join(map(str, confinement.cpus))
    return container, host


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


@contextmanager
def docker_errors(title: str = "Docker") -> Iterator[None]:
    """Turn what the SDK raises into an error with a remedy; ``title`` is the engine's name in it."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except (DockerException, RequestException) as error:
        raise docker_failed(str(getattr(error, "explanation", None) or error), title) from error


def docker_failed(said: str, title: str = "Docker") -> MachineError:
    """The error for what the daemon said."""
    return MachineError(f"{title}: {said.splitlines()[0]}", code=f"{title.lower()}-failed")
