"""A client that never sleeps between two tries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from envbuild.registry.registries import Registries
from envbuild.registry.retry import Retries
from envbuild.store import Store

AT_ONCE = Retries(first_pause=0.0)


@pytest.fixture
def registries() -> Iterator[Registries]:
    """Registries, for somebody who is not logged in anywhere."""
    with Registries({}, retries=AT_ONCE) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty cache."""
    made = Store(tmp_path / "cache")
    made.prepare()
    return made
