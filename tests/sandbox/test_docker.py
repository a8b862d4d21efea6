"""Whether an engine's sandbox can be used at all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from envbuild.engine import Docker
from envbuild.sandbox.docker import DockerSandbox
from envbuild.store import Store


def _reason(info: dict[str, Any], unavailable: str | None = None) -> str | None:
    engine = SimpleNamespace(name="podman", info=info, unavailable=lambda: unavailable)
    return DockerSandbox(cast(Docker, engine), cast(Store, None), {}).unavailable()


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"MemoryLimit": True, "PidsLimit": True}, None),
        ({"MemoryLimit": False, "PidsLimit": True}, "it cannot limit memory here"),
        ({}, "it cannot limit memory and the number of processes here"),
    ],
)
def test_steps_are_run_only_where_they_can_be_limited(info: dict[str, Any], expected: str | None) -> None:
    reason = _reason(info)
    assert (expected is None) == (reason is None)
    assert reason is None or reason.partition(";")[0] == expected


def test_an_engine_that_does_not_work_is_not_asked_for_more() -> None:
    assert _reason({}, "it is not there") == "it is not there"
