"""Layers of steps: when a step runs, and what is said when it should not have gone that way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from envbuild.errors import EnvbuildError, RepoError
from envbuild.image.finding import StoredLayers
from envbuild.image.model import Image, Layer
from envbuild.pack.blob import find_packed
from envbuild.pack.tar import Entry, file
from envbuild.progress import Reporter, Silent
from envbuild.sandbox.model import Outcome, Step
from envbuild.sandbox.steps import StepLayers
from envbuild.store import Store
from tests.support.engines import EMPTY_IMAGE

KEY = "0" * 64


class FakeSandbox:
    """Runs nothing: each time the next of ``outcomes`` comes out, the last of them for ever."""

    name = "fake"

    def __init__(self, *outcomes: Outcome) -> None:
        self._outcomes = list(outcomes)
        self.runs = 0

    def unavailable(self) -> str | None:
        return None

    @contextmanager
    def execute(self, image: Image, step: Step, reporter: Reporter) -> Iterator[Outcome]:
        self.runs += 1
        yield self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]


def _outcome(*changes: Entry) -> Outcome:
    return Outcome(0, None, changes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


def _failed(outcome: Outcome) -> EnvbuildError:
    return RepoError(f"it failed with {outcome.code}, {outcome.exceeded}", code="failed")


def _layers(store: Store, sandbox: FakeSandbox, *, check: bool = False) -> StepLayers:
    return StepLayers(store, StoredLayers(store, "zstd"), lambda: sandbox, Silent(), check=check)


STEP = Step("demo", ("true",), Path("/dev/null"))


def test_a_step_runs_once_for_its_key(store: Store) -> None:
    sandbox = FakeSandbox(_outcome(file("a", b"1")))
    made = [_layers(store, sandbox).layer(EMPTY_IMAGE, STEP, KEY, _failed) for _ in range(2)]
    assert [stepped.found for stepped in made] == ["", "store"]
    assert made[0].packed == made[1].packed
    assert sandbox.runs == 1


def test_what_ran_on_somebodys_word_is_found_only_while_that_somebody_is_trusted(store: Store) -> None:
    """A registry says what a layer is, and a step runs on it."""
    layer = Layer("base", "sha256:d", "sha256:e", 1, 2, "zstd", key="1" * 64, place="registry.example.org/a")
    image = replace(EMPTY_IMAGE, layers=(layer,))
    steps = _layers(store, FakeSandbox(_outcome(file("a", b"1"))))

    made = steps.layer(image, STEP, KEY, _failed)

    assert "registry.example.org/a" == made.packed.place
    assert made.packed == find_packed(store, KEY, "zstd", {"registry.example.org/a"})
    assert find_packed(store, KEY, "zstd", {"registry.example.org/b"}) is None


def test_a_check_brings_what_it_compares_with(store: Store) -> None:
    class Elsewhere(StoredLayers):
        brought: ClassVar[list[Layer]] = []

        def bring(self, layers: Sequence[Layer], reporter: Reporter) -> None:
            self.brought.extend(layers)

    sandbox = FakeSandbox(_outcome(file("a", b"1")), _outcome(file("a", b"2")))
    first = _layers(store, sandbox).layer(EMPTY_IMAGE, STEP, KEY, _failed)
    steps = StepLayers(store, Elsewhere(store, "zstd"), lambda: sandbox, Silent(), check=True)
    with pytest.raises(RepoError, match="does not give the same files each time"):
        steps.layer(EMPTY_IMAGE, STEP, KEY, _failed)

    assert [first.packed.digest] == [layer.digest for layer in Elsewhere.brought]


def test_a_step_that_failed_is_run_again(store: Store) -> None:
    sandbox = FakeSandbox(Outcome(3, None, ()), Outcome(0, "more than 1 seconds", ()), _outcome())
    for message in ("it failed with 3, None", "it failed with 0, more than 1 seconds"):
        with pytest.raises(RepoError, match=message):
            _layers(store, sandbox).layer(EMPTY_IMAGE, STEP, KEY, _failed)
    assert _layers(store, sandbox).layer(EMPTY_IMAGE, STEP, KEY, _failed).found == ""


@pytest.mark.parametrize("known", [True, False])
def test_a_check_runs_it_again_even_when_it_is_known(store: Store, known: bool) -> None:
    sandbox = FakeSandbox(_outcome(file("a", b"1")))
    if known:
        _layers(store, sandbox).layer(EMPTY_IMAGE, STEP, KEY, _failed)
    _layers(store, sandbox, check=True).layer(EMPTY_IMAGE, STEP, KEY, _failed)
    assert sandbox.runs == 2


def test_a_check_names_every_file_that_differs_and_how(store: Store) -> None:
    first: Sequence[Entry] = (
        file("content", b"1"),
        file("mode", b""),
        file("first", b""),
        file("same", b""),
        file(b"kind\xff", b""),
    )
    second: Sequence[Entry] = (
        file("content", b"2"),
        file("mode", b"", executable=True),
        file("second", b""),
        file("same", b""),
        Entry(b"kind\xff", "symlink", 0o777, target=b"same"),
    )
    layers = _layers(store, FakeSandbox(_outcome(*first), _outcome(*second)), check=True)
    with pytest.raises(RepoError, match="demo does not give the same files each time: 5 differ") as caught:
        layers.layer(EMPTY_IMAGE, STEP, KEY, _failed, "postBuild")
    assert caught.value.detail == (
        "content: content\nfirst: only the first run made it\nkind\\xff: kind\nmode: mode\n"
        "second: only the second run made it"
    )
    assert store.action(KEY) is None
