"""Containers of the image under test, on Docker or podman.

Nothing of an image that is tested is trusted: its containers have no network, no capabilities, no new
privileges, nothing of this machine's, and limits for memory, processes, time and what is read of them. They
are removed with their volumes whatever happens; after ``kill -9`` by the next envbuild.
"""

from __future__ import annotations

import json
import re
import tarfile
import threading
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from io import BytesIO
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, Self

from envbuild.conformance.finding import require_platform
from envbuild.conformance.model import Limits, Scenario, Subject
from envbuild.engine import Docker, docker_session
from envbuild.engine.docker import TIMEOUT_SECONDS
from envbuild.source.text import clean

__all__ = ["Containers", "what_it_lacks"]

_USUAL_HOME = "/home/jovyan"  # where Zero to JupyterHub mounts the user's volume
_MOUNTABLE = re.compile(r"/[\w.+@ -][\w./+@ -]*", re.ASCII)
_WRITABLE = ("/tmp", "/var/tmp", "/run")
# Which files engines themselves make or change in a container.
_BY_ENGINES = frozenset(
    [
        *("/", "/.dockerenv", "/dev", "/proc", "/sys"),
        *("/etc", "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf"),
    ]
)
_MOST_OUTPUT = 1 << 20
_MOST_LISTED = 8 << 20
_MOST_LOG = 64 << 10
_LOG_LINES = 20
_LARGEST_FILE = 2 << 30
_POLL_SECONDS = 0.1
_DISCARDS = 20
_RUNTIME = "container process: "  # what comes before it is the engine's way to the error
# How runtimes say that the image has not what was to be started.
_IMAGES_FAULT = re.compile(
    r"\b(?:exec|chdir)\b.{0,400}(?:no such file or directory|permission denied|not a directory"
    r"|is a directory|exec format error)"
    r"|executable file .{0,400}not found|unable to find user|no matching entries|no command specified"
    r"|cannot be mounted",
    re.IGNORECASE | re.DOTALL,
)


class Containers:
    """See :class:`envbuild.conformance.model.Platform`.

    Parameters:
        reference: the image's name for the engine, which has it.
        name: what the user calls it.
        writable: absolute paths it may write to besides those it declares.

    Raises:
        MachineError: the engine failed, or it cannot run images of this platform.
    """

    def __init__(
        self, engine: Docker, reference: str, name: str, limits: Limits, writable: Iterable[str] = ()
    ) -> None:
        self._engine = engine
        self._reference = reference
        self._limits = limits
        with engine.errors():
            docker_session.reap(engine.client)
            self.subject = self._describe(name, writable)

    def start(self, scenario: Scenario) -> Container | str:
        """See :meth:`envbuild.conformance.model.Platform.start`."""
        from docker.errors import APIError

        api = self._engine.client.api
        argv = list(scenario.argv or ())
        name = f"envbuild-verify-image-{uuid.uuid4().hex}"
        with self._engine.errors():
            host = self._host(scenario)
            try:
                created = api.create_container(
                    self._reference,
                    command=argv[1:] if scenario.shell else argv or None,
                    entrypoint=argv[:1] if scenario.shell else None,
                    user=scenario.user,
                    environment=dict(scenario.env),
                    labels=docker_session.labels(),
                    volumes=list(self.subject.places) if scenario.read_only else None,
                    host_config=api.create_host_config(**host),
                    name=name,
                )
            except APIError as error:
                return _refused(error)
            except BaseException:
                self._discard(name)
                raise
            container = Container(self._engine, created["Id"])
            try:
                api.start(created["Id"])
            except APIError as error:
                container.remove()
                return _refused(error)
            except BaseException:
                container.remove()
                raise
        return container

    def _discard(self, name: str) -> None:
        """Remove a container whose making was interrupted: the engine may have made it, or be about to."""
        from docker.errors import NotFound

        for _ in range(_DISCARDS):
            try:
                self._engine.client.api.remove_container(name, force=True, v=True)
            except NotFound:
                time.sleep(_POLL_SECONDS)
            else:
                return

    def _host(self, scenario: Scenario) -> dict[str, Any]:
        from docker.types import LogConfig, Ulimit

        host: dict[str, Any] = {
            "network_mode": "none",
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "mem_limit": self._limits.memory,
            "memswap_limit": self._limits.memory,
            "pids_limit": self._limits.processes,
            "ulimits": [Ulimit(name="fsize", soft=_LARGEST_FILE, hard=_LARGEST_FILE)],
            "log_config": LogConfig(type="json-file", config={"max-size": "1m", "max-file": "1"}),
            "read_only": scenario.read_only,
            # Whose init it is, is what a test is about: a daemon's own would hide that the image has none.
            "init": False,
        }
        if self._engine.name == "podman":
            del host[
                "ulimits"
            ]  # it would leave out those of its own configuration, which rootless users need
        if not self._engine.info.get("MemoryLimit"):
            del host["mem_limit"], host["memswap_limit"]
        if not self._engine.info.get("PidsLimit"):
            del host["pids_limit"]
        if scenario.empty_home:
            # podman would copy what the image has there into it.
            more = ",notmpcopyup" if self._engine.name == "podman" else ""
            host["tmpfs"] = {self.subject.home: f"rw,exec,mode=0777{more}"}
        return host

    def _describe(self, name: str, writable: Iterable[str]) -> Subject:
        found = self._engine.client.api.inspect_image(self._reference)
        require_platform(str(found.get("Architecture")), self._engine)
        config = found.get("Config") or {}
        variables = dict(str(one).partition("=")[::2] for one in config.get("Env") or ())
        user = str(config.get("User") or "")
        home = _path(variables.get("HOME") or self._home_of(found["Id"], user)) or _USUAL_HOME
        declared = [home, config.get("WorkingDir") or "/", *(config.get("Volumes") or ()), *_WRITABLE]
        ports = [str(port).partition("/") for port in config.get("ExposedPorts") or ()]
        return Subject(
            name=name,
            image_id=str(found["Id"]),
            user=user,
            home=home,
            places=_places([*declared, *writable]),
            ports=tuple(sorted(int(port) for port, _, kind in ports if port.isdecimal() and kind != "udp")),
            command=bool(config.get("Entrypoint") or config.get("Cmd")),
        )

    def _home_of(self, image: str, user: str) -> str:
        """The home directory that the image's /etc/passwd gives ``user``; empty without it."""
        from docker.errors import APIError

        api = self._engine.client.api
        host = api.create_host_config(network_mode="none")
        created = api.create_container(
            image, command=["-"], labels=docker_session.labels(), host_config=host, network_disabled=True
        )
        try:
            chunks, _ = api.get_archive(created["Id"], "/etc/passwd")
            with tarfile.open(fileobj=BytesIO(_up_to(chunks, _MOST_OUTPUT))) as archive:
                stream = archive.extractfile(archive.next() or "passwd")
                text = stream.read(_MOST_OUTPUT).decode("utf-8", "replace") if stream else ""
        except (APIError, tarfile.TarError, KeyError, OSError):
            text = ""
        finally:
            api.remove_container(created["Id"], force=True, v=True)
        wanted = user.partition(":")[0] or "0"
        rows = [line.split(":") for line in text.splitlines()]
        homes = [row[5] for row in rows if len(row) > 5 and wanted in (row[0], row[2])]
        return homes[0] if homes else ""


class Container:
    """See :class:`envbuild.conformance.model.Trial`."""

    def __init__(self, engine: Docker, identifier: str) -> None:
        self._engine = engine
        self._api = engine.client.api
        self._id = identifier

    def ask(self, argv: tuple[str, ...], seconds: float) -> tuple[int | None, str]:
        """See :meth:`envbuild.conformance.model.Trial.ask`."""
        from docker.errors import APIError
        from requests.exceptions import RequestException

        watchdog = threading.Timer(seconds, self.kill)
        watchdog.start()
        try:
            identifier = self._api.exec_create(self._id, list(argv), stderr=False)["Id"]
            output = _up_to(self._api.exec_start(identifier, stream=True), _MOST_OUTPUT)
            if len(output) >= _MOST_OUTPUT:
                self.kill()
            code = self._api.exec_inspect(identifier)["ExitCode"]
        except APIError as error:
            said = str(error.explanation or error)
            # podman tells on starting what Docker tells by the exit code.
            return (127 if _IMAGES_FAULT.search(said) else None), said
        except RequestException:  # the connection ended with the container
            return None, ""
        finally:
            watchdog.cancel()
        return code, output.decode("utf-8", "replace")

    def wait(self, seconds: float) -> int | None:
        """See :meth:`envbuild.conformance.model.Trial.wait`."""
        deadline = time.monotonic() + seconds
        while True:
            with self._engine.errors():
                state = self._api.inspect_container(self._id)["State"]
            if not state["Running"]:
                return int(state["ExitCode"])
            if time.monotonic() > deadline:
                return None
            time.sleep(_POLL_SECONDS)

    def terminate(self) -> None:
        """See :meth:`envbuild.conformance.model.Trial.terminate`."""
        self._signal("SIGTERM")

    def kill(self) -> None:
        """End it at once. May be called from another thread."""
        self._signal("SIGKILL")

    def _signal(self, name: str) -> None:
        from docker.errors import APIError

        with suppress(APIError):  # it has ended
            self._api.kill(self._id, signal=name)

    def out_of_memory(self) -> bool:
        """See :meth:`envbuild.conformance.model.Trial.out_of_memory`."""
        with self._engine.errors():
            return bool(self._api.inspect_container(self._id)["State"].get("OOMKilled"))

    def written(self) -> tuple[str, ...] | None:
        """See :meth:`envbuild.conformance.model.Trial.written`."""
        api = self._api
        with self._engine.errors():
            url = f"{api.base_url}/v{api.api_version}/containers/{self._id}/changes"
            with api.get(url, stream=True, timeout=TIMEOUT_SECONDS) as answer:
                answer.raise_for_status()
                data = _up_to(answer.iter_content(1 << 16), _MOST_LISTED)
        if len(data) >= _MOST_LISTED:
            return None
        changed = {entry["Path"]: entry["Kind"] for entry in json.loads(data) or ()}
        # A directory is listed also because something in it is: that is named by itself.
        above = {str(parent) for path in changed for parent in PurePosixPath(path).parents}
        return tuple(sorted(path for path in changed if path not in above | _BY_ENGINES))

    def log(self) -> str:
        """See :meth:`envbuild.conformance.model.Trial.log`."""
        with self._engine.errors():
            stream = self._api.logs(self._id, stream=True, follow=False, tail=_LOG_LINES)
            return _up_to(stream, _MOST_LOG).decode("utf-8", "replace")

    def remove(self) -> None:
        """Remove it, and the volumes that were made for it."""
        from docker.errors import NotFound

        with self._engine.errors(), suppress(NotFound):
            self._api.remove_container(self._id, force=True, v=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def _refused(error: Any) -> str:
    """What an engine says that cannot start this image so.

    Raises:
        APIError: it is not about the image.
    """
    lacking = what_it_lacks(str(error.explanation or error))
    if lacking is None:
        raise error
    return f"it cannot be started: {lacking}"


def what_it_lacks(said: str) -> str | None:
    """The runtime's own words in what an engine ``said``, if they are that the image lacks something."""
    if not _IMAGES_FAULT.search(said):
        return None
    # Runtimes end with the word for a status that they have not.
    return clean(said.rpartition(_RUNTIME)[2].strip().removesuffix(": unknown"))


def _up_to(chunks: Iterable[bytes], limit: int) -> bytes:
    """What ``chunks`` give, and no more than ``limit`` bytes of it."""
    data = b""
    for chunk in chunks:
        data += chunk
        if len(data) >= limit:
            break
    return data[:limit]


def _places(paths: Iterable[object]) -> tuple[str, ...]:
    return tuple(sorted({found for path in paths if (found := _path(str(path))) is not None}))


def _path(text: str) -> str | None:
    """An absolute path below /, if ``text`` is one that engines take as the place of a mount."""
    if not _MOUNTABLE.fullmatch(text) or ".." in text.split("/"):
        return None
    path = str(PurePosixPath("/", text.lstrip("/")))
    return path if path != "/" else None
