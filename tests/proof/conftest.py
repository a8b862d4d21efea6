"""One image, made of two tiny wheels, and everything to make it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from envbuild.build import Builder
from envbuild.image.finding import StoredLayers
from envbuild.image.model import Image
from envbuild.lock.lockfile import dump_lock
from envbuild.lock.model import Lock
from envbuild.source import Repo
from tests.support.builds import Machine, lock_of, use_this_python
from tests.support.index import make_wheel
from tests.support.locks import PLATFORM

NUMPY, PANDAS = make_wheel("numpy", "2.0"), make_wheel("pandas", "3.0")


@dataclass
class Laboratory:
    """A lock, its repository, and machines that have the downloads and nothing else."""

    lock: Lock
    repo: Repo
    machine: Callable[[str], Machine]

    @property
    def lock_bytes(self) -> bytes:
        """The lock's text."""
        return dump_lock(self.lock)

    def complete(self, machine: Machine) -> Image:
        """The image with the repository's files, made on ``machine``."""
        builder = machine.builder()
        return builder.complete_images(self.lock, self.lock_bytes, (PLATFORM,), self.repo)[0]

    def environment(self, machine: Machine, compression: str = "zstd") -> Image:
        """The image without them."""
        builder = compressing(machine, compression)
        return builder.environment(self.lock, self.lock_bytes, (PLATFORM,))[0]


def compressing(machine: Machine, compression: str) -> Builder:
    layers = StoredLayers(machine.store, compression)
    return replace(machine.builder(), compression=compression, layers=layers)


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    """Made once: blobs have the names of their content, so tests cannot disturb each other."""
    directory = tmp_path_factory.mktemp("laboratory")
    repository = directory / "repository"
    repository.mkdir()
    (repository / "analysis.ipynb").write_text("{}\n")
    (repository / "notes.txt").write_text("one\ntwo\nthree\n")
    lock = lock_of(NUMPY, PANDAS)

    def machine(name: str) -> Machine:
        made = Machine(directory / name)
        made.give_all(lock, NUMPY, PANDAS)
        return made

    return Laboratory(lock, Repo(repository), machine)


@pytest.fixture(autouse=True)
def _this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has to be fetched to compile bytecode; only here, and not for tests that come later."""
    use_this_python(monkeypatch)
