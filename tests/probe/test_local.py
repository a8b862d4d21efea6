"""What becomes of an image that an engine cannot start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from envbuild.errors import EnvbuildError, MachineError, RepoError
from envbuild.probe import local


class FakeEngine:
    """Starts nothing, and says why."""

    name, listen_address = "docker", "127.0.0.1"

    def __init__(self, said: str) -> None:
        self._said = said

    def start(self, image: Any, command: Any) -> Any:
        raise MachineError(self._said, code="docker-failed")


@pytest.mark.parametrize(
    ("said", "kind", "code", "message"),
    [
        (
            'start container process: exec: "jupyter-lab": executable file not found in $PATH: unknown',
            RepoError,
            "probe-failed",
            'it does not start: exec: "jupyter-lab": executable file not found in $PATH',
        ),
        ("Docker: no space left", MachineError, "docker-failed", "Docker: no space left"),
    ],
)
def test_what_the_image_lacks_is_its_fault(
    tmp_path: Path, said: str, kind: type[EnvbuildError], code: str, message: str
) -> None:
    engine: Any = FakeEngine(said)
    image: Any = None

    with pytest.raises(kind) as caught:
        local._start(image, (), engine, tmp_path)

    assert (code, message) == (caught.value.code, caught.value.message)
