from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from envbuild.registry.bring import bring
from envbuild.registry.registries import Registries
from envbuild.registry_base.locking import ImageLocker
from envbuild.store import Store
from tests.support.registry import FakeRegistry, fake_registry
from tests.support.reporters import Messages


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


@pytest.fixture
def registries() -> Iterator[Registries]:
    with Registries({}) as made:
        yield made


@pytest.fixture
def locker(store: Store, registries: Registries) -> ImageLocker:
    def fetch(layers: object, reporter: object) -> None:
        bring(layers, store=store, registries=registries, reporter=reporter)  # type: ignore[arg-type]

    return ImageLocker(store, lambda: registries, fetch, Messages())
