"""A process in a Docker container."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from envbuild.engine import docker_session
from envbuild.engine.model import GRACE_SECONDS, Command
from envbuild.engine.terminal import TerminalRelay, gets_terminal
from envbuild.errors import MachineError
from envbuild.pack import recipe

__all__ = ["Container", "docker_errors", "docker_failed"]


class Container:
    """A process in a container; see :class:`envbuild.engine.model.Running`."""

    def __init__(self, client: Any, reference: str, command: Command) -> None:
        self._api = client.api
        self._code: int | None = None
        self._resources = ExitStack()
        terminal = gets_terminal(command)
        self._id = self._create(reference, command, terminal)
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

    def _create(self, reference: str, command: Command, terminal: bool) -> str:
        from docker.types import Mount

        mounts = [
            Mount(mount.target, str(mount.source), type="bind", read_only=not mount.writable)
            for mount in command.mounts
        ]
        ports = {} if command.port is None else {command.port: ("127.0.0.1", command.port)}
        created = self._api.create_container(
            reference,
            list(command.argv),
            environment=dict(command.env),
            working_dir=command.workdir,
            user=None if command.owner is None else f"{command.owner}:{recipe.GID}",
            ports=list(ports),
            stdin_open=command.stdin,
            tty=terminal,
            labels=docker_session.labels(),
            host_config=self._api.create_host_config(mounts=mounts, port_bindings=ports, cap_drop=["ALL"]),
        )
        identifier: str = created["Id"]
        return identifier

    def _attach(self, command: Command, terminal: bool) -> None:
        # Before the start, so that nothing is missed.
        self._socket = self._api.attach_socket(
            self._id, {"stdin": int(command.stdin), "stdout": 1, "stderr": 1, "stream": 1}
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
        self._resources.callback(self._output.join, 2)
        if command.stdin:
            threading.Thread(target=carry_input, name="input", daemon=True).start()

    def _resize(self, columns: int, rows: int) -> None:
        self._api.resize(self._id, height=rows, width=columns)

    def poll(self) -> int | None:
        """See :meth:`envbuild.engine.model.Running.poll`."""
        if self._code is None:
            with docker_errors():
                state = self._api.inspect_container(self._id)["State"]
                if not state["Running"] and state["Status"] != "created":
                    self._code = int(state["ExitCode"])
        return self._code

    def wait(self) -> int:
        """See :meth:`envbuild.engine.model.Running.wait`."""
        if self._code is None:
            with docker_errors():
                self._code = int(self._api.wait(self._id, timeout=None)["StatusCode"])
        return self._code

    def terminate(self, grace: float = GRACE_SECONDS) -> None:
        """See :meth:`envbuild.engine.model.Running.terminate`."""
        from docker.errors import NotFound

        with docker_errors(), suppress(NotFound):
            self._api.stop(self._id, timeout=max(1, round(grace)))

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
            with docker_errors():
                self._remove()
            self._resources.close()


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


@contextmanager
def docker_errors() -> Iterator[None]:
    """Turn what the SDK raises into an error with a remedy."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except (DockerException, RequestException) as error:
        raise docker_failed(str(getattr(error, "explanation", None) or error)) from error


def docker_failed(said: str) -> MachineError:
    """The error for what the daemon said."""
    return MachineError(f"Docker: {said.splitlines()[0]}", code="docker-failed")
