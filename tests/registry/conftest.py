"""A client that never sleeps between two tries, and that reads the certificates once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from envbuild.certificates import trusting_context
from envbuild.registry.registries import Registries
from envbuild.registry.retry import Retries
from envbuild.store import Store

AT_ONCE = Retries(first_pause=0.0)


@pytest.fixture(autouse=True, scope="session")
def _certificates() -> Iterator[None]:
    """Reading them takes longer than most tests."""
    context = trusting_context()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("envbuild.network.client.trusting_context", lambda: context)
        yield


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
