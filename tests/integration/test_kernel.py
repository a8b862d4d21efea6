"""``envbuild kernel``: kernels of an image in the user's own Jupyter, by jupyter_client itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from tests.support.programs import Envbuild
from tests.support.waiting import wait_for_end, wait_until

pytestmark = pytest.mark.network

_PATIENCE_SECONDS = 600

_SLEEP = "import time; open('running', 'w').close(); time.sleep(600)"


class Session:
    """A kernel that an application has started in ``directory``, and its client."""

    def __init__(self, kernels: Path, directory: Path, log: Path) -> None:
        self.log, self.directory = log, directory
        self.manager = KernelManager(
            kernel_name="quickstart",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(kernels)]),
            connection_file=str(log.with_suffix(".json")),
        )
        self.manager.shutdown_wait_time = 120  # jupyter_client kills what takes longer
        self._output = log.open("ab")  # restarts write there, too
        self.manager.start_kernel(cwd=str(directory), stdout=self._output, stderr=self._output)
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()

    def wait(self) -> None:
        self.client.wait_for_ready(timeout=_PATIENCE_SECONDS)

    def run(self, code: str, **options: Any) -> tuple[str, str]:
        """The status of a cell, and what it printed or the name of its error."""
        said: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                said.append(message["content"]["text"])

        reply = self.client.execute_interactive(code, timeout=_PATIENCE_SECONDS, output_hook=hear, **options)[
            "content"
        ]
        return reply["status"], reply.get("ename") or "".join(said)

    def interrupted(self, code: str) -> dict[str, Any]:
        """Run ``code``, which makes the file `running`, interrupt it then, and give the reply."""
        marker = self.client.execute(code)
        running = self.directory / "running"
        wait_until(running.exists)
        running.unlink()
        self.manager.interrupt_kernel()
        while True:
            reply = self.client.get_shell_msg(timeout=_PATIENCE_SECONDS)
            if reply["parent_header"].get("msg_id") == marker:
                content: dict[str, Any] = reply["content"]
                return content

    def processes(self) -> list[psutil.Process]:
        """The program and everything below it."""
        program = psutil.Process(self.manager.provisioner.pid)  # type: ignore[union-attr]
        return [program, *program.children(recursive=True)]

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self._output.close()


@pytest.fixture
def repository(quickstart: Path, tmp_path: Path) -> Path:
    """A copy, with a directory for notebooks in it."""
    copy = Path(shutil.copytree(quickstart, tmp_path / "quickstart"))
    (copy / "notebooks").mkdir()
    return copy


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's kernelspecs are."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    return tmp_path / "jupyter" / "kernels"


@pytest.fixture
def start(kernels: Path, repository: Path, tmp_path: Path) -> Iterator[Callable[..., Session]]:
    """Starts a kernel; all that were started end with the test."""
    sessions: list[Session] = []

    def make(directory: Path = repository / "notebooks") -> Session:
        session = Session(kernels, directory, tmp_path / f"kernel-{len(sessions)}.log")
        sessions.append(session)
        session.wait()
        return session

    yield make
    for session in sessions:
        session.close()


def test_a_session_from_start_to_end(
    envbuild: Envbuild, repository: Path, start: Callable[..., Session]
) -> None:
    """Code, input, interrupts, restarts, and an end that leaves nothing."""
    document = envbuild.document("kernel", "install", repository, "--locked", "--engine", "bubblewrap")
    assert [("quickstart", "Python (quickstart)", "python")] == [
        (kernel["name"], kernel["display_name"], kernel["language"]) for kernel in document["kernels"]
    ]

    session = start()
    code = "import os, sys, pandas; print(os.getcwd(), sys.prefix, os.environ['HOME'])"
    assert ("ok", "/srv/repo/notebooks /srv/env /home/jovyan\n") == session.run(code)
    assert ("ok", "Ann\n") == session.run(
        "print(input())", allow_stdin=True, stdin_hook=lambda message: session.client.input("Ann")
    )
    assert ("ok", "") == session.run("open('made', 'w').close()")
    assert (repository / "notebooks" / "made").exists()

    assert "KeyboardInterrupt" == session.interrupted(_SLEEP)["ename"]
    assert "ok" == session.interrupted("import os; os.system('touch running; sleep 600')")["status"]

    session.run("left = 1")
    before = session.processes()
    session.manager.restart_kernel()
    session.wait()
    assert ("error", "NameError") == session.run("left")
    session.manager.restart_kernel(now=True)
    session.wait()
    assert ("error", "NameError") == session.run("left")
    wait_for_end(before)

    processes = session.processes()
    session.manager.shutdown_kernel()
    wait_for_end(processes)
    assert "the kernel died" not in session.log.read_text()


def test_a_kernel_that_is_killed_is_reported_dead(
    envbuild: Envbuild, repository: Path, start: Callable[..., Session]
) -> None:
    """The application sees the end, its log has the reason, and a restart works."""
    envbuild.document("kernel", "install", repository, "--locked", "--engine", "bubblewrap")
    session = start()
    processes = session.processes()

    session.client.execute("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")

    wait_until(lambda: not session.manager.is_alive())
    assert "envbuild: the kernel died: it was killed (SIGKILL)" in session.log.read_text()
    wait_for_end(processes)
    session.manager.restart_kernel()
    session.wait()
    assert ("ok", "1\n") == session.run("print(1)")


APPLICATION = """
import sys, time
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
specs = KernelSpecManager(kernel_dirs=[sys.argv[1]])
manager = KernelManager(kernel_name="quickstart", kernel_spec_manager=specs)
manager.start_kernel(cwd=sys.argv[2])
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=600)
client.execute("import subprocess; subprocess.run(['sleep', '600'])")
print(manager.provisioner.pid, flush=True)
time.sleep(600)
"""


def _application(kernels: Path, directory: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """An application with a kernel that is busy, and the processes of the kernel."""
    application = subprocess.Popen(
        [sys.executable, "-c", APPLICATION, kernels, directory], stdout=subprocess.PIPE, text=True
    )
    assert application.stdout is not None
    program = psutil.Process(int(application.stdout.readline()))
    return application, [program, *program.children(recursive=True)]


def test_nothing_is_left_when_the_application_is_killed(
    envbuild: Envbuild, repository: Path, kernels: Path
) -> None:
    envbuild.document("kernel", "install", repository, "--locked", "--engine", "bubblewrap")
    application, processes = _application(kernels, repository)

    application.kill()

    wait_for_end(processes)
    application.communicate()


def test_nothing_is_left_when_the_program_is_killed(
    envbuild: Envbuild, repository: Path, start: Callable[..., Session]
) -> None:
    envbuild.document("kernel", "install", repository, "--locked", "--engine", "bubblewrap")
    processes = start().processes()

    processes[0].kill()

    wait_for_end(processes)


def test_a_kernel_follows_the_lock(
    envbuild: Envbuild, repository: Path, start: Callable[..., Session]
) -> None:
    """The one that runs goes on; the next one is what the lock says then."""
    envbuild.document("kernel", "install", repository, "--engine", "bubblewrap")
    assert ["ready"] == [kernel["state"] for kernel in envbuild.document("kernel", "list")["kernels"]]
    requirements = repository / "requirements.txt"
    requirements.write_text(requirements.read_text() + "\ntabulate\n")
    envbuild.document("lock", repository)
    assert ["lock changed"] == [kernel["state"] for kernel in envbuild.document("kernel", "list")["kernels"]]

    session = start()

    assert ("ok", "tabulate\n") == session.run("import tabulate; print(tabulate.__name__)")
    assert "the lock or the cache has changed" in session.log.read_text()
    envbuild.document("kernel", "remove", "quickstart")
    assert [] == envbuild.document("kernel", "list")["kernels"]


def test_why_it_cannot_start_is_told(
    envbuild: Envbuild, repository: Path, kernels: Path, tmp_path: Path
) -> None:
    """In the log; and where the kernelspec names the provisioner, as an error of the application."""
    envbuild.document("kernel", "install", repository, "--locked", "--engine", "bubblewrap")
    path = kernels / "quickstart" / "kernel.json"
    spec = json.loads(path.read_text())
    spec["metadata"]["kernel_provisioner"] = {"provisioner_name": "envbuild"}
    path.write_text(json.dumps(spec))
    (repository / "envbuild.lock").unlink()

    specs = KernelSpecManager(kernel_dirs=[str(kernels)])
    manager = KernelManager(kernel_name="quickstart", kernel_spec_manager=specs)
    with (tmp_path / "log").open("ab") as log, pytest.raises(RuntimeError) as error:
        manager.start_kernel(cwd=str(repository), stdout=log, stderr=log)

    expected = "envbuild: envbuild.lock: there is none; run `envbuild lock` and commit the result"
    assert expected == str(error.value)
    assert expected in (tmp_path / "log").read_text()
    manager.cleanup_resources()


@pytest.mark.docker
def test_kernels_in_docker(
    envbuild: Envbuild,
    repository: Path,
    start: Callable[..., Session],
    docker_host: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ports, signals and files as with bubblewrap; containers end with the program, however it ends."""
    import docker

    monkeypatch.setenv("DOCKER_HOST", docker_host)
    envbuild.document("kernel", "install", repository, "--locked", "--engine", "docker")
    client = docker.from_env()
    others = {container["Id"] for container in client.api.containers(all=True)}

    def containers(**options: Any) -> set[str]:
        return {container["Id"] for container in client.api.containers(**options)} - others

    session = start()
    assert ("ok", "/srv/repo/notebooks\n") == session.run("import os; print(os.getcwd())")
    assert ("ok", "Ann\n") == session.run(
        "print(input())", allow_stdin=True, stdin_hook=lambda message: session.client.input("Ann")
    )
    session.run("open('made', 'w').close()")
    assert os.geteuid() == (repository / "notebooks" / "made").stat().st_uid
    assert "KeyboardInterrupt" == session.interrupted(_SLEEP)["ename"]
    session.manager.restart_kernel(now=True)
    session.wait()
    assert ("ok", "1\n") == session.run("print(1)")
    session.manager.restart_kernel()
    session.wait()
    assert ("ok", "1\n") == session.run("print(1)")
    assert 1 == len(containers(all=True))
    session.manager.shutdown_kernel()
    assert set() == containers(all=True)

    os.kill(start().manager.provisioner.pid, signal.SIGKILL)  # type: ignore[union-attr]

    wait_until(lambda: not containers())
    client.close()
