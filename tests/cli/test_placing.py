"""Which engine ``--load`` means."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import pytest

from envbuild.cli.placing import keeper
from envbuild.cli.session import Session
from envbuild.config import Settings
from envbuild.errors import MachineError


@dataclass
class Fake:
    name: str
    reason: str | None = None

    def unavailable(self) -> str | None:
        return self.reason


def _chosen(engine: str, docker: str | None, podman: str | None) -> str:
    engines = SimpleNamespace(docker=Fake("docker", docker), podman=Fake("podman", podman))
    session = SimpleNamespace(engines=lambda settings: engines)
    settings = SimpleNamespace(engine=engine)
    return keeper(cast(Session, session), cast(Settings, settings)).name


@pytest.mark.parametrize(
    ("engine", "docker", "podman", "expected"),
    [
        ("auto", None, None, "docker"),
        ("auto", "not there", None, "podman"),
        ("bubblewrap", "not there", None, "podman"),
        ("podman", None, None, "podman"),
        ("docker", None, None, "docker"),
    ],
)
def test_the_named_engine_gets_the_image_else_the_first_that_works(
    engine: str, docker: str | None, podman: str | None, expected: str
) -> None:
    assert expected == _chosen(engine, docker, podman)


def test_a_named_engine_that_does_not_work_is_not_replaced() -> None:
    with pytest.raises(MachineError, match="docker: not there"):
        _chosen("docker", "not there", None)
