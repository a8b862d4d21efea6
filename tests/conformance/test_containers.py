"""What a container of an image that is not trusted gets, and what is believed of it; without an engine."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import docker.errors
import pytest
from docker import APIClient

from envbuild.conformance.containers import Container, Containers
from envbuild.conformance.model import Limits
from envbuild.conformance.scenarios import HOME, LAB, READ_ONLY, SHELL
from envbuild.errors import MachineError


def archive(name: str, text: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text.encode()))
    return stream.getvalue()


class Api:
    """The SDK's client, with a daemon that does what it is told."""

    create_host_config = APIClient.create_host_config
    _version = "1.41"
    base_url, api_version = "http+docker://localhost", "1.41"

    def __init__(self, **config: Any) -> None:
        self.image = {"Id": "sha256:1", "Architecture": "amd64", "Config": {"Env": ["HOME=/h"], **config}}
        self.passwd: str | None = None
        self.created: list[dict[str, Any]] = []
        self.removed: list[tuple[str, bool, bool]] = []
        self.refusal: str | None = None
        self.interrupted = False
        self.changes: list[dict[str, Any]] | bytes = []
        self.output: Callable[[], Iterator[bytes]] = lambda: iter([b"{}"])
        self.killed = threading.Event()

    def inspect_image(self, name: str) -> dict[str, Any]:
        return self.image

    def containers(self, **filters: Any) -> list[Any]:
        return []

    def create_container(self, image: str, **options: Any) -> dict[str, str]:
        self.created.append(options)
        if self.interrupted:
            raise KeyboardInterrupt
        return {"Id": f"c{len(self.created)}"}

    def start(self, identifier: str) -> None:
        if self.refusal is not None:
            raise docker.errors.APIError("500", explanation=self.refusal)

    def remove_container(self, identifier: str, *, force: bool, v: bool) -> None:
        self.removed.append((identifier, force, v))

    def exec_create(self, identifier: str, argv: list[str], *, stderr: bool) -> dict[str, str]:
        return {"Id": "e"}

    def exec_start(self, identifier: str, *, stream: bool) -> Iterator[bytes]:
        assert stream
        if self.refusal is not None:
            raise docker.errors.APIError("500", explanation=self.refusal)
        return self.output()

    def exec_inspect(self, identifier: str) -> dict[str, int | None]:
        return {"ExitCode": None if self.killed.is_set() else 0}

    def kill(self, identifier: str, *, signal: str) -> None:
        assert "SIGKILL" == signal
        self.killed.set()

    def get_archive(self, identifier: str, path: str) -> tuple[Iterator[bytes], None]:
        if self.passwd is None:
            raise docker.errors.NotFound("no such file")
        return iter([archive("passwd", self.passwd)]), None

    def get(self, url: str, *, stream: bool, timeout: float) -> Api:
        assert stream
        assert "http+docker://localhost/v1.41/containers/c/changes" == url
        return self

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def raise_for_status(self) -> None:
        pass

    def iter_content(self, size: int) -> Iterator[bytes]:
        data = self.changes if isinstance(self.changes, bytes) else json.dumps(self.changes).encode()
        for start in range(0, len(data), size):
            yield data[start : start + size]


class Engine:
    """What :class:`envbuild.engine.Docker` is to containers."""

    name = "docker"

    def __init__(self, api: Api) -> None:
        self.client = self
        self.api = api
        self.info = {"Architecture": "x86_64", "MemoryLimit": True, "PidsLimit": True}

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except docker.errors.DockerException as error:
            raise MachineError(str(error), code="docker-failed") from error


def containers(api: Api, *writable: str) -> Containers:
    return Containers(Engine(api), "sha256:1", "demo", Limits(memory=1 << 30, processes=50), writable)  # type: ignore[arg-type]


def test_a_container_gets_nothing_it_does_not_need() -> None:
    api = Api()
    containers(api).start(LAB)

    (created,) = api.created
    host = created["host_config"]
    assert ("none", ["ALL"], ["no-new-privileges"]) == (
        host["NetworkMode"],
        host["CapDrop"],
        host["SecurityOpt"],
    )
    assert (1 << 30, 1 << 30, 50) == (host["Memory"], host["MemorySwap"], host["PidsLimit"])
    assert {"max-size": "1m", "max-file": "1"} == host["LogConfig"]["Config"]
    assert host["Init"] is False
    assert set() == {"Binds", "Mounts", "Privileged", "Devices", "PidMode"} & set(host)
    assert ["fsize"] == [limit["Name"] for limit in host["Ulimits"]]
    assert "dev.envbuild.session" in created["labels"]


def test_limits_that_the_engine_cannot_keep_are_left_out() -> None:
    api = Api()
    made = containers(api)
    made._engine.info.update(MemoryLimit=False, PidsLimit=False)  # type: ignore[attr-defined]
    made.start(LAB)

    assert set() == {"Memory", "MemorySwap", "PidsLimit"} & set(api.created[0]["host_config"])


def test_scenarios() -> None:
    api = Api(WorkingDir="/work", Volumes={"/data": {}, "/": {}})
    made = containers(api, "/var/app")
    for scenario in (SHELL, HOME, READ_ONLY):
        made.start(scenario)

    shell, home, read_only = api.created
    assert (["/bin/sh"], "65534:65534") == (shell["entrypoint"], shell["user"])
    assert ["-c", 'echo "Pulling complete"'] == shell["command"]
    assert {"/h": "rw,exec,mode=0777"} == home["host_config"]["Tmpfs"]
    assert ["/data", "/h", "/run", "/tmp", "/var/app", "/var/tmp", "/work"] == read_only["volumes"]
    assert read_only["host_config"]["ReadonlyRootfs"]
    assert home["volumes"] is None


@pytest.mark.parametrize(
    ("user", "passwd", "home"),
    [
        ("jovyan", "root:x:0:0::/root:\njovyan:x:7:7::/home/me:\n", "/home/me"),
        ("7:7", "jovyan:x:7:7::/home/me:/bin/sh\n", "/home/me"),
        ("", "root:x:0:0::/root:\n", "/root"),
        ("8", "nonsense\n::::\n8:8\n", "/home/jovyan"),
        ("8", "x:y:8:8::relative:\n", "/home/jovyan"),
        ("8", "x:y:8:8:::\n", "/home/jovyan"),
        ("8", None, "/home/jovyan"),
    ],
)
def test_the_home_directory_of_an_image_that_does_not_say_it(
    user: str, passwd: str | None, home: str
) -> None:
    api = Api(Env=None, User=user)
    api.passwd = passwd

    assert home == containers(api).subject.home
    assert [("c1", True, True)] == api.removed


@pytest.mark.parametrize("home", ["/", "//", "relative", "/a/../..", "/a:/b", "/a,ro", "/a\0", "/./"])
def test_a_home_directory_that_nothing_can_be_mounted_at(home: str) -> None:
    assert "/home/jovyan" == containers(Api(Env=[f"HOME={home}"])).subject.home


def test_what_an_image_exposes() -> None:
    api = Api(
        ExposedPorts={"8888/tcp": {}, "53/udp": {}, "80": {}, "junk/tcp": {}}, Cmd=None, Entrypoint=["x"]
    )

    subject = containers(api).subject

    assert ((80, 8888), True) == (subject.ports, subject.command)


def test_an_image_for_another_architecture() -> None:
    api = Api()
    api.image["Architecture"] = "arm64"

    with pytest.raises(MachineError, match="the image is for arm64, and this engine runs amd64") as caught:
        containers(api)

    assert "other-platform" == caught.value.code


@pytest.mark.parametrize(
    "said",
    [
        'create failed: unable to start container process: exec: "/bin/sh": no such file or directory',
        'exec: "jupyter-lab": executable file not found in $PATH: unknown',
        "unable to find user ghost: no matching entries in passwd file",
        "crun: executable file `x` not found in $PATH",
    ],
)
def test_what_the_image_lacks_is_its_fault(said: str) -> None:
    api = Api()
    api.refusal = said

    started = containers(api).start(SHELL)

    assert isinstance(started, str)
    assert started.startswith("it cannot be started: ")
    assert "create failed" not in started
    assert [("c1", True, True)] == api.removed


@pytest.mark.parametrize(
    "said",
    [
        "cgroups: cannot apply memory limit: no such file or directory",
        "error setting rlimit type 7: operation not permitted: OCI permission denied",
    ],
)
def test_what_the_engine_lacks_is_not(said: str) -> None:
    api = Api()
    api.refusal = said

    with pytest.raises(MachineError):
        containers(api).start(SHELL)

    assert [("c1", True, True)] == api.removed


def test_a_container_whose_making_was_interrupted_is_removed() -> None:
    """The engine has made it, and nobody was told its id."""
    api = Api()
    api.interrupted = True

    with pytest.raises(KeyboardInterrupt):
        containers(api).start(SHELL)

    assert [(api.created[0]["name"], True, True)] == api.removed


def test_only_what_was_written_itself_is_listed() -> None:
    api = Api()
    api.changes = [{"Path": path, "Kind": 0} for path in ("/h", "/h/a", "/h/a/b", "/var", "/etc")]

    assert ("/h/a/b", "/var") == Container(Engine(api), "c").written()  # type: ignore[arg-type]


def test_more_changes_than_anybody_reads() -> None:
    api = Api()
    api.changes = b"x" * (9 << 20)

    assert None is Container(Engine(api), "c").written()  # type: ignore[arg-type]


def test_the_scenarios_variables_are_the_containers() -> None:
    api = Api()
    containers(api).start(replace(LAB, env={"A": "1"}))

    assert {"A": "1"} == api.created[0]["environment"]


def test_what_is_asked_is_answered() -> None:
    assert (0, "{}") == Container(Engine(Api()), "c").ask(("python3",), 60)  # type: ignore[arg-type]


def test_output_without_end_is_cut_and_its_container_killed() -> None:
    api = Api()
    api.output = lambda: itertools.repeat(b"x" * 100_000)

    code, output = Container(Engine(api), "c").ask(("python3",), 60)  # type: ignore[arg-type]

    assert (None, 1 << 20) == (code, len(output))
    assert api.killed.is_set()


def test_whoever_does_not_come_to_an_end_is_killed() -> None:
    api = Api()

    def hanging() -> Iterator[bytes]:
        api.killed.wait()
        yield from ()

    api.output = hanging
    assert (None, "") == Container(Engine(api), "c").ask(("python3",), 0.01)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("exec failed: executable file `python3` not found in $PATH: No such file or directory", 127),
        ("container c is not running", None),
    ],
)
def test_what_cannot_be_asked(said: str, code: int | None) -> None:
    """Podman says on starting what Docker tells by the exit code."""
    api = Api()
    api.refusal = said

    assert (code, said) == Container(Engine(api), "c").ask(("python3",), 60)  # type: ignore[arg-type]
