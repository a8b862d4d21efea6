"""A client that never sleeps between two tries, and that reads the certificates once; machines that share a
cache in a registry.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from envbuild.image.model import Image
from envbuild.registry.registries import Registries
from envbuild.registry.retry import Retries
from envbuild.store import Store
from tests.support.builds import Machine, lock_of, use_this_python
from tests.support.index import make_wheel
from tests.support.registry import FakeRegistry, fake_registry

AT_ONCE = Retries(first_pause=0.0)
NUMPY, PANDAS = make_wheel("numpy", "2.0"), make_wheel("pandas", "3.0")
LOCK = lock_of(NUMPY, PANDAS)
NEW = make_wheel("pandas", "3.1")
BUMPED = lock_of(NUMPY, NEW)


@pytest.fixture(autouse=True)
def _no_questions_left() -> Iterator[None]:
    """Whoever has enough does not wait for answers that are still to come; tests do."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("look-up"):
            thread.join()


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


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Image]:
    """A cache in which LOCK was built, and the image."""
    machine = Machine(tmp_path_factory.mktemp("made") / "cache")
    machine.give_all(LOCK, NUMPY, PANDAS)
    with pytest.MonkeyPatch.context() as patch:
        use_this_python(patch)
        return machine.directory, machine.build(LOCK)


@pytest.fixture
def built(made: tuple[Path, Image]) -> Image:
    """The image that everybody should have."""
    return made[1]


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """An empty registry."""
    with fake_registry() as running:
        yield running


@pytest.fixture
def ci(
    made: tuple[Path, Image], tmp_path: Path, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> Machine:
    """The machine that has built, and has not published yet."""
    use_this_python(monkeypatch)
    shutil.copytree(made[0], tmp_path / "ci")
    return Machine(tmp_path / "ci", registry.address)


@pytest.fixture
def laptop(tmp_path: Path, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with an empty cache and nothing to download from."""
    use_this_python(monkeypatch)
    return Machine(tmp_path / "laptop", registry.address)
