"""A platform without an engine: what each scenario's container does is said by the test."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from envbuild.conformance.model import Scenario, Subject

SUBJECT = Subject(
    name="team/demo:1",
    image_id="sha256:0",
    user="1000:100",
    home="/home/jovyan",
    places=("/home/jovyan", "/srv/repo", "/tmp"),
    ports=(8888,),
    command=True,
)
ANSWERS: Mapping[str, Any] = {
    "server": {"status": 200, "seconds": 1.5, "said": ""},
    "listening": [["any", 8888]],
    "anonymous": 403,
    "kernels": [{"name": "python3", "language": "python", "error": None, "said": "2"}],
    "orphan": "reaped",
    "hub": ["GET /hub/api", "GET /hub/api/user"],
}


@dataclass(slots=True)
class FakeTrial:
    """A container that gives ``output`` when it is asked; ``code`` None: there is no such process."""

    output: str = field(default_factory=lambda: json.dumps(ANSWERS))
    code: int | None = 0
    ended: int | None = None
    after_sigterm: int | None = 0
    out_of_memory_: bool = False
    files: tuple[str, ...] | None = ("/tmp/a", "/home/jovyan/.local/b")
    said: str = "the end of the log"
    asked: list[tuple[tuple[str, ...], float]] = field(default_factory=list)
    removed: int = 0

    def ask(self, argv: tuple[str, ...], seconds: float) -> tuple[int | None, str]:
        self.asked.append((argv, seconds))
        return self.code, self.output

    def wait(self, seconds: float) -> int | None:
        return self.ended

    def terminate(self) -> None:
        self.ended = self.after_sigterm

    def out_of_memory(self) -> bool:
        return self.out_of_memory_

    def written(self) -> tuple[str, ...] | None:
        return self.files

    def log(self) -> str:
        return self.said

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.removed += 1


@dataclass(slots=True)
class FakePlatform:
    """Every scenario's container is what ``make`` gives."""

    make: Callable[[Scenario], FakeTrial | str]
    subject: Subject = SUBJECT
    trials: dict[str, FakeTrial | str] = field(default_factory=dict)

    def start(self, scenario: Scenario) -> FakeTrial | str:
        assert scenario.id not in self.trials, "one container for each scenario"
        self.trials[scenario.id] = self.make(scenario)
        return self.trials[scenario.id]


def good(scenario: Scenario) -> FakeTrial:
    """A container as it should be."""
    if scenario.questions is None:
        return FakeTrial(ended=0, said="hello\nPulling complete\n" if scenario.shell else "hello\n3.13.5\n")
    return FakeTrial()
