"""How an image comes to the engine it is tested on; without an engine."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest

from envbuild.conformance import finding
from envbuild.errors import MachineError
from envbuild.inspection.place import Place


class FakeEngine:
    """Has no image, and runs those for amd64."""

    name, info = "docker", {"Architecture": "x86_64"}  # a fake's

    def __init__(self) -> None:
        self.client = SimpleNamespace(api=self)
        self.taken: list[Any] = []

    def errors(self) -> Any:
        return contextlib.nullcontext()

    def inspect_image(self, name: str) -> Any:
        raise docker.errors.ImageNotFound(name)

    def prepare(self, image: Any, *, reporter: Any) -> None:
        self.taken.append(image)

    def reference(self, image: Any) -> str:
        return "sha256:1"


def found(engine: FakeEngine, platform: str, notes: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    name = "registry.example.org/team/demo:1"
    inspector: Any = SimpleNamespace(
        place=lambda text: Place("registry", text),
        store=None,
        reporter=SimpleNamespace(note=notes.append),
        registries=lambda: None,
    )
    pulled = SimpleNamespace(images=[SimpleNamespace(platform=platform)])
    monkeypatch.setattr(finding, "pull_image", lambda *_, **__: pulled)
    return finding.find_image(name, engine, inspector)  # type: ignore[arg-type]


def test_what_the_engine_has_not_is_looked_for_in_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, notes = FakeEngine(), list[str]()

    assert "sha256:1" == found(engine, "linux/amd64", notes, monkeypatch)
    assert ["registry.example.org/team/demo:1 is not in docker: asking the registry"] == notes
    assert 1 == len(engine.taken)


def test_an_image_for_another_architecture_is_not_given_to_the_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = FakeEngine()

    with pytest.raises(MachineError, match="the image is for arm64, and this engine runs amd64"):
        found(engine, "linux/arm64", [], monkeypatch)
    assert [] == engine.taken
