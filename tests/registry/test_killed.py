"""Programs that are killed (SIGKILL) at any request: what they leave is whole, the next one gets there."""

from __future__ import annotations

import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from envbuild.image.model import Image
from envbuild.image.reference import Reference, parse_reference
from envbuild.pack.tar import file
from envbuild.progress import Silent
from envbuild.pull import pull_image
from envbuild.registry.push import push_images
from envbuild.registry.registries import Registries
from envbuild.store import Blob, Store
from tests.registry.conftest import AT_ONCE
from tests.support.images import make_image
from tests.support.registry import FakeRegistry, digest_of, fake_registry
from tests.support.registry.wire import Exchange, Reply

pytestmark = pytest.mark.slow

PUSH = """
import pickle, sys
from envbuild.progress import Silent
from envbuild.registry import uploads
from envbuild.pull import pull_image
from envbuild.registry.push import push_images
from envbuild.registry.registries import Registries
uploads.CHUNK = 100_000
store, images, reference = pickle.load(sys.stdin.buffer)
with Registries({}, jobs=4) as registries:
    push_images(images, [reference], store=store, registries=registries, reporter=Silent())
"""
PULL = """
import pickle, sys
from envbuild.progress import Silent
from envbuild.pull import pull_image
from envbuild.registry.registries import Registries
store, images, reference = pickle.load(sys.stdin.buffer)
platform = images[0].platform
with Registries({}, jobs=4) as registries:
    also = {"store": store, "registries": registries, "reporter": Silent()}
    pull_image(reference, platforms=[platform], native=platform, **also)
"""


class Program:
    """A program in a process of its own, and the ways it can be killed."""

    def __init__(self, source: str, store: Store, image: Image, reference: Reference) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE)
        self._input = pickle.dumps((store, [image], reference))

    def run(self) -> int:
        """Its exit code; that of a killed one is negative."""
        self.process.communicate(self._input)
        return self.process.returncode

    def kill(self) -> None:
        """Now."""
        self.process.kill()
        self.process.wait()

    def when_asked(self, registry: FakeRegistry, exchange: Exchange) -> Reply:
        """A fault: killed when nothing was done about the request."""
        exchange.body()
        self.kill()
        return Reply(500)

    def when_done(self, registry: FakeRegistry, exchange: Exchange) -> Reply:
        """A fault: killed before it hears that the request was done."""
        reply = exchange.handle()
        self.kill()
        return reply

    def in_the_middle(self, registry: FakeRegistry, exchange: Exchange) -> Reply:
        """A fault: killed when it has got half of the answer."""
        reply = exchange.handle()
        assert isinstance(reply.body, bytes)
        half = reply.body[: len(reply.body) // 2]

        def pieces() -> Iterator[bytes]:
            yield half
            self.kill()

        return replace(reply, body=pieces()) if half else self.when_done(registry, exchange)


@pytest.mark.parametrize("way", [Program.when_asked, Program.when_done])
def test_a_push_is_killed_at_any_request(tmp_path: Path, way: Callable[..., Reply]) -> None:
    """The registry has whole blobs and no tag, or the whole image; the next push gets there."""
    store, image = _made(tmp_path / "cache")

    for number in count():
        with fake_registry() as registry:
            reference = parse_reference(f"{registry.address}/team/demo:1.0")
            program = Program(PUSH, store, image, reference)
            killing = registry.fail(partial(way, program), number=number)
            code = program.run()
            registry.heal()

            assert (-signal.SIGKILL if killing.hits else 0) == code
            assert [] == registry.contents.damages()
            assert registry.repository("team/demo").tags in ({}, {"1.0": image.manifest.digest})
            with Registries({}, retries=AT_ONCE) as registries:
                push_images([image], [reference], store=store, registries=registries, reporter=Silent())
            assert {"1.0": image.manifest.digest} == registry.repository("team/demo").tags
            assert [] == registry.contents.damages()
        if not killing.hits:
            break

    assert number > 10  # or else it was not killed at all


@pytest.mark.parametrize("way", [Program.when_asked, Program.in_the_middle])
def test_a_pull_is_killed_at_any_request(tmp_path: Path, way: Callable[..., Reply]) -> None:
    """The cache has whole blobs; the next pull fetches the others and has the whole image."""
    original, image = _made(tmp_path / "original")
    parts = (image.config, *(Blob(layer.digest, layer.size) for layer in image.layers))

    for number in count():
        store = Store(tmp_path / f"cache-{number}")
        store.prepare()
        with fake_registry(storage=True) as registry:
            for part in parts:
                registry.put_blob("team/demo", original.blob_path(part.digest).read_bytes())
            registry.put_manifest("team/demo", original.blob_path(image.manifest.digest).read_bytes(), "1.0")
            reference = parse_reference(f"{registry.address}/team/demo:1.0")
            program = Program(PULL, store, image, reference)
            killing = registry.fail(partial(way, program), number=number)
            code = program.run()
            registry.heal()
            left = {f"sha256:{path.name}" for path in store.blobs.iterdir()}
            registry.forget()

            assert (-signal.SIGKILL if killing.hits else 0) == code
            assert left == {digest_of(path.read_bytes()) for path in store.blobs.iterdir()}
            with Registries({}, retries=AT_ONCE) as registries:
                pulled = pull_image(
                    reference,
                    platforms=[image.platform],
                    native=image.platform,
                    store=store,
                    registries=registries,
                    reporter=Silent(),
                )
            assert [image.manifest] == [one.manifest for one in pulled.images]
            assert all(store.has_blob(part.digest, part.size) for part in parts)
            layers = {layer.digest for layer in image.layers}
            assert layers - left == layers & {one.reference for one in registry.asked("get-blob")}
        if not killing.hits:
            break

    assert number > 5  # or else it was not killed at all


def _made(directory: Path) -> tuple[Store, Image]:
    """A cache with an image."""
    store = Store(directory)
    store.prepare()
    large = random.Random(6).randbytes(250_000)
    return store, make_image(store, [[file("large", large)], [file("small", b"x")]])
