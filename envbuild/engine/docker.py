"""Docker as an engine, through its SDK.

An image the daemon has is used; of others it pulls what it lacks from a registry we serve on loopback. A
daemon that cannot reach our loopback (another machine, a virtual machine) gets the whole image as an archive.
"""

from __future__ import annotations

import os
import threading
import urllib.parse
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

from envbuild.engine import docker_session
from envbuild.engine.docker_container import Confinement, Container, Daemon, docker_errors, docker_failed
from envbuild.engine.model import Command
from envbuild.errors import MachineError
from envbuild.image.archive import write_archive
from envbuild.image.blobs import uncompressed
from envbuild.image.finding import Bring, all_here
from envbuild.image.model import Image
from envbuild.pack.tar import Sink
from envbuild.progress import Reporter, Stage
from envbuild.registry.server import Served, serve
from envbuild.source.text import redact
from envbuild.store import Store

__all__ = ["TIMEOUT_SECONDS", "Docker"]

TIMEOUT_SECONDS = 300
_LOCAL_NAME = "envbuild/environment"


class Docker:
    """See :class:`envbuild.engine.model.Engine`.

    Parameters:
        environment: variables that tell where the daemon is (``DOCKER_HOST`` and its kin).
        bring: gets layers that the daemon asks for into the store.
    """

    name = "docker"
    daemon = Daemon()
    listen_address = "0.0.0.0"  # the port is published on this machine's 127.0.0.1 only

    def __init__(self, store: Store, environment: Mapping[str, str], bring: Bring = all_here) -> None:
        self.bring = bring
        self._store = store
        self._environment = environment

    @cached_property
    def host(self) -> str:
        """The daemon's address: ``DOCKER_HOST``, else that of the current context of Docker's own client."""
        from docker.constants import DEFAULT_UNIX_SOCKET
        from docker.context import ContextAPI

        host = self._environment.get("DOCKER_HOST")
        if not host:
            with suppress(Exception):  # no context, or one that is broken
                host = ContextAPI.get_current_context().Host
        return host or DEFAULT_UNIX_SOCKET

    @cached_property
    def client(self) -> Any:
        """The SDK's client."""
        import docker

        return docker.from_env(environment=self.client_environment, timeout=TIMEOUT_SECONDS)

    @property
    def client_environment(self) -> dict[str, str]:
        """The variables that let another process reach the same daemon."""
        return {**self._environment, "DOCKER_HOST": self.host}

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """What the daemon says about itself."""
        with self.errors():
            found: Mapping[str, Any] = self.client.api.info()
        return found

    @property
    def rootless(self) -> bool:
        """Whether the daemon is not root: then root of its containers is the user whose daemon it is."""
        return "name=rootless" in (self.info.get("SecurityOptions") or ())

    @property
    def runs_as_caller(self) -> bool:
        """See :attr:`envbuild.engine.model.Engine.runs_as_caller`."""
        return self.rootless

    def errors(self) -> AbstractContextManager[None]:
        """Turns what the SDK raises into errors with a remedy."""
        return docker_errors(self.daemon.title)

    def unavailable(self) -> str | None:
        """See :meth:`envbuild.engine.model.Engine.unavailable`."""
        from docker.errors import DockerException

        try:
            self.client.ping()
        except (DockerException, OSError, ValueError) as error:  # a DOCKER_HOST that is none
            return _unreachable(self.host, str(error))
        return None

    def prepare(self, image: Image, *, reporter: Reporter) -> None:
        """Bring the image to the daemon; see :meth:`load`."""
        docker_session.reap(self.client)
        if self._present(image) is None:
            self.load(image, (f"{_LOCAL_NAME}:{image.image_id[7:19]}",), reporter=reporter)

    def load(self, image: Image, tags: Sequence[str], *, reporter: Reporter) -> None:
        """Give the daemon ``image`` under ``tags`` (``name:tag``); only what it lacks is sent.

        Raises:
            MachineError: the daemon cannot take it, or the cache is damaged.
            LayersLost, RemoteError: see :meth:`envbuild.image.finding.Layers.bring`.
        """
        with self.errors(), reporter.stage("load") as stage:
            present = self._present(image)
            if present is not None:
                self._tag(present, tags)
                return
            progress = _Sent(stage, sum(layer.raw_size for layer in image.layers))
            with serve(image, self._store, sent=progress.add, bring=self.bring) as served:
                reason = self._pull(served)
                if reason is None:
                    self._tag(served.reference, tags)
                    # Only the name goes: the image has others now.
                    self.client.api.remove_image(served.reference)
            if reason is not None:
                reporter.note(
                    f"{self.daemon.title} cannot pull from this machine ({reason}); sending the whole image"
                )
                self.bring(image.layers, reporter)
                self._send_archive(image, tags, progress)
            progress.finish()

    def close(self) -> None:
        """Close the connection to the daemon."""
        if "client" in self.__dict__:
            self.client.close()

    def start(self, image: Image, command: Command) -> Container:
        """See :meth:`envbuild.engine.model.Engine.start`."""
        with self.errors():
            return self._contain(image, command, None)

    def confined(self, image: Image, command: Command, confinement: Confinement) -> Container:
        """Like :meth:`start`, for a step of a build; the image's entry point is not run."""
        with self.errors():
            return self._contain(image, command, confinement)

    def _contain(self, image: Image, command: Command, confinement: Confinement | None) -> Container:
        if command.mounts and not _is_here(self.host):
            raise MachineError(
                f"{self.daemon.title} at {redact(self.host)} cannot see the files of this machine",
                code="engine-elsewhere",
                remedy=f"use {self.daemon.title} on this machine, or --engine bubblewrap",
            )
        if command.memory is not None and not self.info.get("MemoryLimit"):
            command = replace(command, memory=None)  # without a control group to do it with
        daemon = replace(self.daemon, rootless=self.rootless)
        return Container(self.client, self.reference(image), command, confinement, daemon)

    def reference(self, image: Image) -> str:
        """The name under which the daemon has ``image``, which was prepared.

        Raises:
            MachineError: it does not have it.
        """
        reference = self._present(image)
        if reference is None:
            raise MachineError(f"the image is not in {self.daemon.title}", code="image-not-loaded")
        return reference

    def _present(self, image: Image) -> str | None:
        """The name under which the daemon has the image; with containerd's store, that is the manifest's."""
        from docker.errors import NotFound

        for digest in (
            image.image_id,
            image.manifest.digest,
            uncompressed(image, self._store).manifest.digest,
        ):
            with suppress(NotFound):
                found: str = self.client.api.inspect_image(digest)["Id"]
                return found
        return None

    def _tag(self, reference: str, tags: Sequence[str]) -> None:
        from docker.utils import parse_repository_tag

        for tag in tags:
            self.client.api.tag(reference, *parse_repository_tag(tag))

    def _pull(self, served: Served) -> str | None:
        """Let the daemon pull; the reason when it could not."""
        from docker.errors import APIError

        try:
            with closing(self._pull_events(served)) as events:
                for event in events:
                    if served.error is not None:
                        raise served.error  # the daemon would go on trying for a minute
                    if "error" in event:
                        return str(event["error"]).splitlines()[0]
        except APIError as error:
            return str(error.explanation or error).splitlines()[0]
        return None

    def _pull_events(self, served: Served) -> Generator[dict[str, Any]]:
        """Start a pull and yield what the daemon reports about it."""
        # An empty auth_config: credentials of other registries are none of this one's business.
        events: Generator[dict[str, Any]] = self.client.api.pull(
            f"{served.registry}/{served.repository}",
            tag=served.tag,
            stream=True,
            decode=True,
            auth_config={},
        )
        return events

    def _send_archive(self, image: Image, tags: Sequence[str], progress: _Sent) -> None:
        reader, writer = os.pipe()
        failures: list[BaseException] = []

        def write() -> None:
            try:
                with os.fdopen(writer, "wb") as sink:
                    write_archive(image, self._store, progress.counted(sink), tags)
            except BrokenPipeError:
                pass  # the daemon's own error says more
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=write, name="archive", daemon=True)
        with os.fdopen(reader, "rb") as archive:
            thread.start()
            events = list(self.client.api.load_image(archive))
            failures.extend(
                docker_failed(event["error"], self.daemon.title) for event in events if "error" in event
            )
        thread.join()
        if failures:
            raise failures[0]


class _Sent:
    """How much of an image was sent; what was not at the end, the daemon had."""

    def __init__(self, stage: Stage, total: int) -> None:
        self._stage = stage
        self._missing = total
        self._lock = threading.Lock()
        stage.add_total(total)

    def add(self, size: int) -> None:
        """``size`` more bytes were sent."""
        with self._lock:
            size = min(size, self._missing)  # manifests and repeated pieces are not in the total
            self._missing -= size
        self._stage.advance(size)

    def counted(self, sink: Sink) -> Sink:
        """A sink that counts what goes to ``sink``."""
        add = self.add

        class Counted:
            def write(self, data: bytes, /) -> None:
                sink.write(data)
                add(len(data))

        return Counted()

    def finish(self) -> None:
        """All that is needed was sent."""
        self._stage.advance(self._missing, cached=True)


def _is_here(host: str) -> bool:
    """Whether a daemon's address is one of this machine."""
    parts = urllib.parse.urlsplit(host)
    return parts.scheme in ("unix", "http+unix", "npipe") or parts.hostname in (
        "127.0.0.1",
        "::1",
        "localhost",
    )


def _unreachable(host: str, said: str) -> str:
    host = redact(host)
    if "Permission denied" in said:
        return f"you may not use the Docker daemon at {host}; join the group `docker`"
    known = ("No such file or directory", "Connection refused")
    reason = next((text for text in known if text in said), said.splitlines()[0])
    return f"no Docker daemon answers at {host} ({reason}); start Docker, or set DOCKER_HOST"
