"""Builds in unit tests: machines with a cache each, and locks of wheels made in memory.

The operating system's layer is a stand-in that is put into a machine's cache; bytecode is compiled by the
Python that runs the tests.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from envbuild.base import interpreter
from envbuild.base.interpreter import Interpreter
from envbuild.build import Builder
from envbuild.fetch import Fetcher, Sources
from envbuild.image.finding import Layers, StoredLayers
from envbuild.image.model import Image
from envbuild.layers import OsLayer
from envbuild.lock.model import Artifact, Lock, Wheel
from envbuild.pack.blob import keep_packed, pack_entries
from envbuild.pack.tar import complete, file
from envbuild.plan import make_plan
from envbuild.sandbox.model import Sandbox
from envbuild.sandbox.steps import StepLayers
from envbuild.source import Repo
from envbuild.store import Store
from tests.support.index import WheelFile, make_wheel
from tests.support.locks import PLATFORM, small_lock
from tests.support.reporters import Messages

__all__ = ["Machine", "lock_of", "use_this_python"]

_SERVER = make_wheel("jupyterlab", "4.0")


def lock_of(*wheels: WheelFile, name: str = "demo") -> Lock:
    """A lock of these wheels, each in a layer of its own, for the Python that runs the tests."""
    lock = small_lock(*map(_locked, wheels))
    base = replace(lock.base, python=platform.python_version(), server={PLATFORM: (_locked(_SERVER),)})
    return replace(lock, base=base, name=name)


def _locked(wheel: WheelFile) -> Wheel:
    distribution, version = wheel.filename.split("-")[:2]
    artifact = Artifact(wheel.filename, wheel.sha256, len(wheel.data), "pypi", wheel.filename)
    return Wheel(distribution, version, artifact, layer=distribution)


def use_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile bytecode with the Python that runs the tests."""
    this = Interpreter((os.path.realpath(sys.executable),), {}, "this")
    monkeypatch.setattr(interpreter, "interpreter", lambda *args, **kwargs: this)


def _no_sandbox() -> Sandbox:
    raise AssertionError("nothing is to be run")


@dataclass
class Machine:
    """A machine with a cache of its own in ``directory``.

    ``reporter`` has what was said. Nothing can be downloaded: a build that needs an artifact which was not
    :meth:`give`\\ n fails.
    """

    directory: Path
    layers: Layers | None = None
    reporter: Messages = field(default_factory=Messages)
    sandbox: Sandbox | None = None

    def __post_init__(self) -> None:
        self.store = Store(self.directory)
        self.store.prepare()

    def give(self, *wheels: WheelFile) -> None:
        """Put downloaded wheels into the cache."""
        for wheel in wheels:
            self.store.artifact_path(wheel.sha256).write_bytes(wheel.data)

    def give_all(self, lock: Lock, *wheels: WheelFile) -> None:
        """Put all that packing ``lock`` needs into the cache: wheels, the server's, the operating system."""
        self.give(*wheels, _SERVER)
        for layer in make_plan(lock, PLATFORM, b"").layers:
            if isinstance(layer, OsLayer):
                system = pack_entries(self.store, complete([file("usr/bin/python", b"system")]), "zstd")
                keep_packed(self.store, layer.key, system)

    def builder(self) -> Builder:
        """What builds here."""
        layers = self.layers or StoredLayers(self.store, "zstd")
        fetcher = Fetcher(self.store, Sources({}), offline=True)
        return Builder(
            store=self.store,
            fetcher=fetcher.__enter__(),
            reporter=self.reporter,
            layers=layers,
            check=lambda debs, architecture: None,
            steps=StepLayers(self.store, layers, lambda: self.sandbox or _no_sandbox(), self.reporter),
            restore=lambda artifacts: None,
            projects=lambda platform: (),
            jobs=1,
        )

    def build(self, lock: Lock, files: Mapping[str, str] | None = None) -> Image:
        """The complete image of ``lock`` and a repository with ``files``."""
        repository = self.directory.with_name(self.directory.name + "-repository")
        repository.mkdir(exist_ok=True)
        for name, content in (files or {"a.ipynb": "{}"}).items():
            (repository / name).write_text(content)
        (image,) = self.builder().complete_images(lock, b"lock", (PLATFORM,), Repo(repository))
        return image

    def packed(self, image: Image) -> list[str]:
        """Titles of the layers of ``image`` that had to be made."""
        return [layer.title for layer in image.layers if not layer.cached]
