"""Programs that are killed (SIGKILL) at any request: what they leave is whole, the next one gets there."""

from __future__ import annotations

import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from envbuild.image.model import Image
from envbuild.image.reference import Reference, parse_reference
from envbuild.pack.tar import file
from envbuild.progress import Silent
from envbuild.registry.push import push_images
from envbuild.registry.registries import Registries
from envbuild.store import Store
from tests.registry.conftest import AT_ONCE
from tests.support.images import make_image
from tests.support.registry import FakeRegistry, fake_registry
from tests.support.registry.wire import Exchange, Reply

pytestmark = pytest.mark.slow

PUSH = """
import pickle, sys
from envbuild.progress import Silent
from envbuild.registry import uploads
from envbuild.registry.push import push_images
from envbuild.registry.registries import Registries
uploads.CHUNK = 100_000
store, images, reference = pickle.load(sys.stdin.buffer)
with Registries({}, jobs=4) as registries:
    push_images(images, [reference], store=store, registries=registries, reporter=Silent())
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


@pytest.mark.parametrize("way", [Program.when_asked, Program.when_done])
def test_a_push_is_killed_at_any_request(tmp_path: Path, way: Callable[..., Reply]) -> None:
    """The registry has whole blobs and no tag, or the whole image; the next push gets there."""
    store = Store(tmp_path / "cache")
    store.prepare()
    large = random.Random(6).randbytes(250_000)
    image = make_image(store, [[file("large", large)], [file("small", b"x")]])

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
