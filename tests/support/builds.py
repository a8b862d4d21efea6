"""Builds in unit tests: machines with a cache each, and locks of wheels made in memory.

The operating system's layer is a stand-in that is put into a machine's cache; bytecode is compiled by the
Python that runs the tests.
"""

from __future__ import annotations

import os
import platform
import sys
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from envbuild.base import interpreter
from envbuild.base.interpreter import Interpreter
from envbuild.build import Builder
from envbuild.fetch import Fetcher, Sources
from envbuild.image.finding import StoredLayers, without_lost
from envbuild.image.model import Image
from envbuild.image.reference import Reference, parse_reference
from envbuild.layers import OsLayer
from envbuild.lock.model import Artifact, Lock, Wheel
from envbuild.pack.blob import keep_packed, pack_entries
from envbuild.pack.tar import complete, file
from envbuild.plan import environment_id, make_plan
from envbuild.registry.cache import IMPATIENT, SharedLayers
from envbuild.registry.publish import Published, publish
from envbuild.registry.push import Pushed, push_images
from envbuild.registry.registries import Registries
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
    """A machine with a cache of its own in ``directory``, for one command.

    ``reporter`` has what was said. Nothing can be downloaded, so a build fails that needs an artifact which
    :meth:`give` was not given. With a ``registry`` (its address) there is a shared cache in it.
    """

    directory: Path
    registry: str | None = None
    trusting: bool = True
    offline: bool = False
    reporter: Messages = field(default_factory=Messages)
    sandbox: Sandbox | None = None

    def __post_init__(self) -> None:
        self.store = Store(self.directory)
        self.store.prepare()
        self.registries = _registries()
        self.layers = SharedLayers(
            StoredLayers(self.store, "zstd"),
            repository=self.shared if self.registry else None,
            trusting=self.trusting,
            offline=self.offline,
            ask=(asked := _registries()),
            fetch=self.registries,
            reporter=self.reporter,
        )
        for registries in (self.registries, asked):
            weakref.finalize(self, registries.close)

    @property
    def shared(self) -> Reference:
        """The shared cache."""
        return parse_reference(f"{self.registry}/team/envs")

    def again(self, **changed: Any) -> Machine:
        """The same machine at its next command, with other settings."""
        kept = {name: getattr(self, name) for name in ("registry", "trusting", "offline", "sandbox")}
        return Machine(self.directory, **{**kept, **changed})

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
        fetcher = Fetcher(self.store, Sources({}), offline=True)
        return Builder(
            store=self.store,
            fetcher=fetcher.__enter__(),
            reporter=self.reporter,
            layers=self.layers,
            interpreter=lambda base, image: interpreter.interpreter(
                base, store=self.store, fetch=fetcher.fetch, check=lambda debs, architecture: None
            ),
            base_config=lambda base, platform: None,
            steps=StepLayers(self.store, self.layers, lambda: self.sandbox or _no_sandbox(), self.reporter),
            restore=lambda artifacts: None,
            projects=lambda platform: (),
            jobs=1,
        )

    def build(self, lock: Lock, files: Mapping[str, str] | None = None, *, bring: bool = False) -> Image:
        """The complete image of ``lock`` and a repository with ``files``.

        Parameters:
            bring: have its bytes here, too.
        """
        repository = self.directory.with_name(self.directory.name + "-repository")
        repository.mkdir(exist_ok=True)
        for name, content in (files or {"a.ipynb": "{}"}).items():
            (repository / name).write_text(content)
        self.layers.consult([self.shared.with_tag(environment_id(lock))] if self.registry else [])
        builder = self.builder()

        def make() -> Image:
            (image,) = builder.complete_images(lock, b"lock", (PLATFORM,), Repo(repository))
            if bring:
                self.layers.bring(image.layers, self.reporter)
            return image

        return without_lost(make)

    def publish(self, lock: Lock, image: Image) -> Published:
        """Put ``image``, which was built of ``lock``, into the shared cache."""
        return publish(
            self.builder().environments(lock, b"lock", [image]),
            image.layers,
            reference=self.shared.with_tag(environment_id(lock)),
            store=self.store,
            registries=self.registries,
            reporter=self.reporter,
        )

    def push(self, image: Image, name: str) -> Pushed:
        """Push ``image`` under ``name`` (``team/demo:1``)."""
        return push_images(
            [image],
            [parse_reference(f"{self.registry}/{name}")],
            store=self.store,
            registries=self.registries,
            reporter=self.reporter,
        )

    def packed(self, image: Image) -> list[str]:
        """Titles of the layers of ``image`` that had to be made."""
        return [layer.title for layer in image.layers if not layer.cached]


def _registries() -> Registries:
    return Registries({}, retries=replace(IMPATIENT, first_pause=0.01))
