"""What is podman's own: its service, and what makes it unusable. The rest is in test_docker.py."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envbuild.engine import Podman
from envbuild.engine.podman_service import PodmanService
from envbuild.errors import MachineError
from envbuild.store import Store
from tests.support.servers import scratch_directory
from tests.support.waiting import wait_until

_LISTENS = """
import os, socket, sys, time
open(os.environ["PID_FILE"], "w").write(str(os.getpid()))  # before anybody can know that it listens
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[-1].removeprefix("unix://"))
listener.listen()
time.sleep(600)
"""


def _program(directory: Path, source: str) -> str:
    program = directory / "podman"
    program.write_text(f"#!{sys.executable}\n{source}")
    program.chmod(0o755)
    return str(program)


def _runs(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A directory for sockets, whose names must not be long."""
    with scratch_directory() as made:
        yield made


@pytest.fixture
def environment(tmp_path: Path, runtime: Path) -> dict[str, str]:
    return {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "PID_FILE": str(tmp_path / "pid")}


def test_the_service_ends_when_it_is_closed(
    tmp_path: Path, runtime: Path, environment: dict[str, str]
) -> None:
    service = PodmanService(_program(tmp_path, _LISTENS), environment)
    socket = Path(service.address.removeprefix("unix://"))
    assert socket.is_socket()
    assert (runtime, 0o700) == (socket.parents[1], socket.parent.stat().st_mode & 0o777)
    service.close()
    wait_until(lambda: not _runs(int((tmp_path / "pid").read_text())))
    assert [] == list(runtime.iterdir())


def test_the_service_of_a_killed_process_ends_too(
    tmp_path: Path, runtime: Path, environment: dict[str, str]
) -> None:
    program = textwrap.dedent(
        f"""
        import os, time
        from envbuild.engine.podman_service import PodmanService
        service = PodmanService({_program(tmp_path, _LISTENS)!r}, {environment!r})
        print("started", flush=True)
        time.sleep(600)
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"started\n" == process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not _runs(int((tmp_path / "pid").read_text())))
    wait_until(lambda: not list(runtime.iterdir()), otherwise=lambda: list(runtime.iterdir()))


def test_a_service_that_fails_says_why(tmp_path: Path, runtime: Path, environment: dict[str, str]) -> None:
    program = _program(tmp_path, "import sys; print('one'); sys.exit('Error: no space left')")
    with pytest.raises(MachineError, match="does not start: Error: no space left"):
        PodmanService(program, environment)
    assert [] == list(runtime.iterdir())


def test_without_podman_the_reason_says_what_to_do(store: Store, tmp_path: Path) -> None:
    reason = Podman(store, {"PATH": str(tmp_path)}).unavailable()
    assert "podman is not installed; install podman 4 or newer, or set CONTAINER_HOST" == reason


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_service_that_does_not_answer_is_named(store: Store, tmp_path: Path) -> None:
    reason = Podman(store, {"CONTAINER_HOST": f"unix://{tmp_path}/none.sock"}).unavailable()
    gc.collect()  # the SDK forgets to close what it could not connect
    assert reason is not None
    assert reason.startswith(f"no podman answers at unix://{tmp_path}/none.sock (")
    assert reason.endswith("; start its service, or unset CONTAINER_HOST")


class FakeClient:
    """What two questions to the service are answered with."""

    def __init__(self, version: str, security: bool, mapped: int, component: str = "Podman Engine") -> None:
        self._version = {"Components": [{"Name": component, "Version": version}]}
        size = [{"size": 1}, {"size": mapped}]
        self._host = {"security": {"rootless": security}, "idMappings": {"uidmap": size}}
        self.api = self
        self.base_url = "http+docker://localhost"

    def version(self) -> dict[str, Any]:
        return self._version

    def request(self, *_: object, **__: object) -> FakeClient:
        return self

    def raise_for_status(self) -> None:
        pass

    def json(self) -> dict[str, Any]:
        return {"host": self._host}


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (FakeClient("4.3.1", True, 65536), None),
        (FakeClient("5.4.2", False, 0), None),
        (FakeClient("3.4.4", True, 65536), "podman 3 is too old; install 4 or newer"),
        (FakeClient("4.3.1", True, 0), "usermod --add-subuids"),
        (FakeClient("20.10", False, 0, "Engine"), "what answers there is not podman"),
    ],
)
def test_what_answers_is_looked_at(store: Store, client: FakeClient, expected: str | None) -> None:
    engine = Podman(store, {"CONTAINER_HOST": "unix:///run/podman/podman.sock"})
    engine.__dict__["client"] = client
    reason = engine.unavailable()
    assert (expected is None) == (reason is None)
    assert expected is None or expected in str(reason)
