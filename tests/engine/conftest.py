from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from envbuild.base.mirrors import find_mirrors
from envbuild.engine.bubblewrap import Bubblewrap
from envbuild.engine.machine import machine_engines
from envbuild.image.model import Image
from envbuild.progress import Silent
from envbuild.store import Store
from tests.support.images import host_image

PROGRAMS = ("cat", "id", "ls", "sleep", "mktemp", "touch", "stty")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    made = tmp_path / "repository"
    made.mkdir()
    return made


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("shared") / "cache")
    made.prepare()
    return made


@pytest.fixture(scope="session")
def image(shared_store: Store) -> Image:
    """An image that can be started, made of this machine's programs."""
    return host_image(shared_store, *PROGRAMS)


@pytest.fixture(scope="session")
def bubblewrap(shared_store: Store) -> Bubblewrap:
    """The engine as ``envbuild up`` has it: the host's bwrap, or the one from the Debian mirror."""
    mirrors = find_mirrors({}, at=datetime.now(UTC))
    engine = machine_engines(
        shared_store, mirrors=mirrors, environment={}, offline=False, reporter=Silent()
    ).bubblewrap
    reason = engine.unavailable()
    if reason is not None:
        pytest.skip(reason)
    return engine
