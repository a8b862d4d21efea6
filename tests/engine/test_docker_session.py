from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from envbuild.engine import docker_session


class FakeApi:
    def __init__(self, *labels: str) -> None:
        self.listed = [
            {"Id": str(number), "Labels": {"dev.envbuild.session": label}}
            for number, label in enumerate(labels)
        ]
        self.removed: list[str] = []

    def containers(self, **_: Any) -> list[dict[str, Any]]:
        return self.listed

    def remove_container(self, identifier: str, **_: Any) -> None:
        self.removed.append(identifier)


class FakeClient:
    def __init__(self, *labels: str) -> None:
        self.api = FakeApi(*labels)


def _label_of_a_dead_process() -> str:
    program = "from envbuild.engine import docker_session as d; print(*d.labels().values())"
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ).stdout.strip()


def test_containers_of_the_dead_go_and_those_of_the_living_stay() -> None:
    (mine,) = docker_session.labels().values()
    dead = _label_of_a_dead_process()
    reused = mine[:-1] + ("0" if mine[-1] != "0" else "1")  # this process number, another start
    elsewhere = "another-boot pid:[1] " + " ".join(dead.split()[-2:])
    client = FakeClient(mine, dead, reused, elsewhere, "", "nonsense", "a b c")
    docker_session.reap(client)
    assert client.api.removed == ["1", "2"]
