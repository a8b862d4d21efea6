"""Starting what was built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from envbuild.binder.arguments import Run
from envbuild.binder.container import port_bindings, run_container
from envbuild.errors import UsageError


class _Docker:
    """Docker's SDK as far as it is used: one container, which says ``output`` and ends with ``code``."""

    def __init__(self, output: tuple[bytes, ...] = (), code: int = 0, interrupted: bool = False) -> None:
        self.containers = self
        self.output, self.code, self.interrupted = output, code, interrupted
        self.started: dict[str, Any] = {}
        self.removed: dict[str, Any] = {}

    def run(self, image: str, **options: Any) -> _Docker:
        self.started = {"image": image, **options}
        return self

    def logs(self, **_: Any) -> Any:
        yield from self.output
        if self.interrupted:
            raise KeyboardInterrupt

    def wait(self) -> dict[str, int]:
        return {"StatusCode": self.code}

    def remove(self, **options: Any) -> None:
        self.removed = options


def _run(
    docker: _Docker, run: Run, *, host: str = "unix:///var/run/docker.sock", user_id: int | None = None
) -> tuple[int, list[str]]:
    said: list[str] = []
    return run_container(docker, "demo", run, host=host, user_id=user_id, say=said.append), said


def test_a_server_on_this_machine_alone() -> None:
    docker = _Docker((b"[I] http://127.0.0.1:1/l", b"ab\r\nand more"))

    code, said = _run(docker, Run((), (), False, (), ()))

    ((inside, (address, port)),) = docker.started["ports"].items()
    command = ["jupyter-lab", "--ip=0.0.0.0", f"--port={port}", "--no-browser"]
    assert [*command, f"--ServerApp.custom_display_url=http://127.0.0.1:{port}"] == docker.started["command"]
    assert (0, ["[I] http://127.0.0.1:1/lab", "and more"], f"{port}/tcp", "127.0.0.1") == (
        *(code, said),
        *(inside, address),
    )
    assert {"force": True, "v": True} == docker.removed


def test_a_server_on_the_machine_where_docker_is() -> None:
    docker = _Docker()

    _run(docker, Run((), (), False, (), ()), host="tcp://docker.example.org:2376")

    ((_, port),) = docker.started["ports"].items()
    assert f"--ServerApp.custom_display_url=http://docker.example.org:{port}" == docker.started["command"][-1]


def test_what_was_asked_for(tmp_path: Path) -> None:
    docker = _Docker(code=3)
    run = Run(("python3", "-V"), ("80:8888",), True, ((str(tmp_path), "data"), ("/x", "/y")), ("A=1",))

    code, _ = _run(docker, run, user_id=1234)

    assert 3 == code
    assert {
        "image": "demo",
        "command": ["python3", "-V"],
        "detach": True,
        "environment": ["A=1"],
        "ports": {"8888/tcp": "80"},
        "publish_all_ports": True,
        "volumes": {
            str(tmp_path): {"bind": "/srv/repo/data", "mode": "rw"},
            "/x": {"bind": "/y", "mode": "rw"},
        },
        "user": "1234:100",
    } == docker.started


def test_ctrl_c_ends_the_container() -> None:
    docker = _Docker(interrupted=True)

    assert (0, ["stopping the container"]) == _run(docker, Run((), (), False, (), ()))
    assert {"force": True, "v": True} == docker.removed


@pytest.mark.parametrize("text", ["", "x", "0", "70000", "1:2:3:4", "a:b", "80/sctp", ":80", "1:"])
def test_bad_ports(text: str) -> None:
    with pytest.raises(UsageError) as error:
        port_bindings((text,))

    assert "bad-port" == error.value.code
