"""Docker as an engine, through its SDK.

An image the daemon has is used; of others it pulls what it lacks from a registry we serve on loopback. A
daemon that cannot reach our loopback (another machine, a virtual machine) gets the whole image as an archive.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from envbuild.engine import docker_session
from envbuild.engine.model import GRACE_SECONDS, Command
from envbuild.engine.terminal import TerminalRelay, gets_terminal
from envbuild.errors import MachineError
from envbuild.image.archive import write_archive
from envbuild.image.blobs import uncompressed
from envbuild.image.model import Image
from envbuild.pack import recipe
from envbuild.progress import Reporter
from envbuild.registry.server import Served, serve
from envbuild.source.text import redact
from envbuild.store import Store

__all__ = ["Docker"]

_TIMEOUT_SECONDS = 300
_LOCAL_NAME = "envbuild/environment"


class Docker:
    """See :class:`envbuild.engine.model.Engine`.

    Parameters:
        environment: variables that tell where the daemon is (``DOCKER_HOST`` and its kin).
    """

    name = "docker"
    listen_address = "0.0.0.0"  # the port is published on this machine's 127.0.0.1 only
    runs_as_caller = False

    def __init__(self, store: Store, environment: Mapping[str, str]) -> None:
        self._store = store
        self._environment = environment

    @cached_property
    def _host(self) -> str:
        """The daemon's address: ``DOCKER_HOST``, else that of the current context of Docker's own client."""
        from docker.constants import DEFAULT_UNIX_SOCKET
        from docker.context import ContextAPI

        host = self._environment.get("DOCKER_HOST")
        if not host:
            with suppress(Exception):  # no context, or one that is broken
                host = ContextAPI.get_current_context().Host
        return host or DEFAULT_UNIX_SOCKET

    @cached_property
    def _client(self) -> Any:
        import docker

        environment = {**self._environment, "DOCKER_HOST": self._host}
        return docker.from_env(environment=environment, timeout=_TIMEOUT_SECONDS)

    def unavailable(self) -> str | None:
        """See :meth:`envbuild.engine.model.Engine.unavailable`."""
        from docker.errors import DockerException

        try:
            self._client.ping()
        except (DockerException, OSError) as error:
            return _unreachable(self._host, str(error))
        return None

    def prepare(self, image: Image, *, reporter: Reporter) -> None:
        """Bring the image to the daemon; see :meth:`load`."""
        docker_session.reap(self._client)
        if self._present(image) is None:
            self.load(image, (f"{_LOCAL_NAME}:{image.image_id[7:19]}",), reporter=reporter)

    def load(self, image: Image, tags: Sequence[str], *, reporter: Reporter) -> None:
        """Give the daemon ``image`` under ``tags`` (``name:tag``); only what it lacks is sent.

        Raises:
            MachineError: the daemon cannot take it, or the cache is damaged.
        """
        with _docker_errors(), reporter.stage("load") as stage:
            present = self._present(image)
            if present is not None:
                self._tag(present, tags)
                return
            with serve(image, self._store, sent=stage.advance) as served:
                reason = self._pull(served)
                if reason is None:
                    self._tag(served.reference, tags)
                    # Only the name goes: the image has others now.
                    self._client.api.remove_image(served.reference)
            if reason is not None:
                reporter.note(f"Docker cannot pull from this machine ({reason}); sending the whole image")
                self._send_archive(image, tags)

    def close(self) -> None:
        """Close the connection to the daemon."""
        if "_client" in self.__dict__:
            self._client.close()

    def start(self, image: Image, command: Command) -> Container:
        """See :meth:`envbuild.engine.model.Engine.start`."""
        with _docker_errors():
            reference = self._present(image)
            if reference is None:
                raise MachineError("the image is not in Docker", code="image-not-loaded")
            return Container(self._client, reference, command)

    def _present(self, image: Image) -> str | None:
        """The name under which the daemon has the image; with containerd's store, that is the manifest's."""
        from docker.errors import NotFound

        for digest in (
            image.image_id,
            image.manifest.digest,
            uncompressed(image, self._store).manifest.digest,
        ):
            with suppress(NotFound):
                found: str = self._client.api.inspect_image(digest)["Id"]
                return found
        return None

    def _tag(self, reference: str, tags: Sequence[str]) -> None:
        from docker.utils import parse_repository_tag

        for tag in tags:
            self._client.api.tag(reference, *parse_repository_tag(tag))

    def _pull(self, served: Served) -> str | None:
        """Let the daemon pull; the reason when it could not."""
        from docker.errors import APIError

        try:
            # An empty auth_config: credentials of other registries are none of this one's business.
            events = self._client.api.pull(
                f"{served.registry}/{served.repository}",
                tag=served.tag,
                stream=True,
                decode=True,
                auth_config={},
            )
            with closing(events):
                for event in events:
                    if served.error is not None:
                        raise served.error  # the daemon would go on trying for a minute
                    if "error" in event:
                        return str(event["error"]).splitlines()[0]
        except APIError as error:
            return str(error.explanation or error).splitlines()[0]
        return None

    def _send_archive(self, image: Image, tags: Sequence[str]) -> None:
        reader, writer = os.pipe()
        failures: list[BaseException] = []

        def write() -> None:
            try:
                with os.fdopen(writer, "wb") as sink:
                    write_archive(image, self._store, sink, tags)
            except BrokenPipeError:
                pass  # the daemon's own error says more
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=write, name="archive", daemon=True)
        with os.fdopen(reader, "rb") as archive:
            thread.start()
            events = list(self._client.api.load_image(archive))
            failures.extend(_failed(event["error"]) for event in events if "error" in event)
        thread.join()
        if failures:
            raise failures[0]


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
            host_config=self._api.create_host_config(mounts=mounts, port_bindings=ports),
        )
        identifier: str = created["Id"]
        return identifier

    def _attach(self, command: Command, terminal: bool) -> None:
        # Before the start, so that nothing is missed.
        self._socket = self._api.attach_socket(
            self._id, {"stdin": int(command.stdin), "stdout": 1, "stderr": 1, "stream": 1}
        )
        # The SDK gives a reader of the socket, whose closing would leave the socket itself open.
        self._resources.callback(getattr(self._socket, "_sock", self._socket).close)
        self._resources.callback(self._socket.close)

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
                self._socket._sock.shutdown(1)

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
            with _docker_errors():
                state = self._api.inspect_container(self._id)["State"]
                if not state["Running"] and state["Status"] != "created":
                    self._code = int(state["ExitCode"])
        return self._code

    def wait(self) -> int:
        """See :meth:`envbuild.engine.model.Running.wait`."""
        if self._code is None:
            with _docker_errors():
                self._code = int(self._api.wait(self._id, timeout=None)["StatusCode"])
        return self._code

    def terminate(self, grace: float = GRACE_SECONDS) -> None:
        """See :meth:`envbuild.engine.model.Running.terminate`."""
        from docker.errors import NotFound

        with _docker_errors(), suppress(NotFound):
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
            with _docker_errors():
                self._remove()
            self._resources.close()


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _unreachable(host: str, said: str) -> str:
    host = redact(host)
    if "Permission denied" in said:
        return f"you may not use the Docker daemon at {host}; join the group `docker`"
    known = ("No such file or directory", "Connection refused")
    reason = next((text for text in known if text in said), said.splitlines()[0])
    return f"no Docker daemon answers at {host} ({reason}); start Docker, or set DOCKER_HOST"


@contextmanager
def _docker_errors() -> Iterator[None]:
    """Turn what the SDK raises into an error with a remedy."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except (DockerException, RequestException) as error:
        raise _failed(str(getattr(error, "explanation", None) or error)) from error


def _failed(said: str) -> MachineError:
    return MachineError(f"Docker: {said.splitlines()[0]}", code="docker-failed")
