"""Everything that can happen to every request of a push.

The outcome is the whole image under its tag, or an error with exit code 4 and what was there before; never a
tag that leads to something that is damaged or not all there. The next push gets there, whatever came before.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.errors import RemoteError
from envbuild.image.reference import parse_reference
from envbuild.pack.tar import file
from envbuild.progress import Silent
from envbuild.registry import uploads
from envbuild.registry.places import remember_place
from envbuild.registry.push import push_images
from envbuild.registry.registries import Registries
from envbuild.store import Store
from tests.registry.conftest import AT_ONCE
from tests.support.images import make_image
from tests.support.registry import FakeRegistry, digest_of, fake_registry, faults
from tests.support.registry.matrix import (
    LIES,
    PASSING,
    Outcome,
    Trouble,
    hits,
    hitting,
    lasting,
    often,
    recorded,
)
from tests.support.registry.wire import Request

pytestmark = pytest.mark.slow  # every fault at every request

REPOSITORY, NEIGHBOUR = "team/demo", "team/base"
RANDOM = random.Random(4)


class Pusher:
    """A store with an image for each platform, and the pushes of these, ``jobs`` blobs at once."""

    def __init__(self, directory: Path, platforms: tuple[str, ...], jobs: int, **options: Any) -> None:
        self.jobs = jobs
        self.options = {"scheme": "bearer", "users": {"me": "secret"}, **options}
        self.store = Store(directory / "cache")
        self.store.prepare()
        self.home = directory
        base = [file("base", RANDOM.randbytes(3000))]
        large = [file("large", RANDOM.randbytes(250_000))]
        self.images = [
            make_image(self.store, [base, large, [file("platform", one.encode())]], platform=one)
            for one in platforms
        ]

    def __call__(self, prepare: Callable[[FakeRegistry], object]) -> Outcome:
        """Push to a new registry, look at what is there, heal the registry if it failed, and push again."""
        with fake_registry(**self.options) as registry:
            mounted = self.images[0].layers[0].digest
            registry.put_blob(NEIGHBOUR, self.store.blob_path(mounted).read_bytes())
            for place in self.store.places.iterdir():
                place.unlink()
            remember_place(self.store, mounted, f"{registry.address}/{NEIGHBOUR}")
            prepare(registry)
            error = self._pushed(registry)
            requests = list(registry.requests)
            self._check(registry, whole=error is None)
            registry.heal()
            if error is not None:
                again = self._pushed(registry)
                assert again is None, f"after {error}, again: {again}"
                self._check(registry, whole=True)
        return error, requests

    def _pushed(self, registry: FakeRegistry) -> RemoteError | None:
        secret = base64.b64encode(b"me:secret").decode()
        config = {"auths": {registry.address: {"auth": secret}}}
        (self.home / "config.json").write_text(json.dumps(config))
        variables = {"DOCKER_CONFIG": str(self.home)}
        try:
            with Registries(variables, jobs=self.jobs, retries=AT_ONCE) as registries:
                push_images(
                    self.images,
                    [parse_reference(f"{registry.address}/{REPOSITORY}:1.0")],
                    store=self.store,
                    registries=registries,
                    reporter=Silent(),
                )
        except RemoteError as error:
            assert "secret" not in f"{error}{error.detail}{error.remedy}" and secret not in f"{error}"
            return error
        return None

    def _check(self, registry: FakeRegistry, *, whole: bool) -> None:
        held = registry.repository(REPOSITORY)
        assert [] == registry.contents.damages()
        assert set(held.tags) <= {"1.0"}
        if whole or held.tags:
            assert self._expected() <= held.blobs.keys() | held.manifests.keys()
            assert ["1.0"] == list(held.tags)
            assert {image.manifest.digest for image in self.images} <= held.manifests.keys()
        for path in self.store.blobs.iterdir():
            assert f"sha256:{path.name}" == digest_of(path.read_bytes())
        assert [] == list(self.store.tmp.iterdir())

    def _expected(self) -> set[str]:
        return {
            blob.digest for image in self.images for blob in (image.config, image.manifest, *image.layers)
        }


def recorded_push(directory: Path, *platforms: str, jobs: int) -> tuple[Pusher, list[Request]]:
    pusher = Pusher(directory, platforms, jobs)
    return pusher, recorded(pusher)


@pytest.fixture(scope="module")
def chunks() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uploads, "CHUNK", 100_000)
        yield


@pytest.fixture(scope="module")
def small(chunks: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pusher, list[Request]]:
    """A push of one image."""
    return recorded_push(tmp_path_factory.mktemp("small"), "linux/amd64", jobs=1)


@pytest.fixture(scope="module")
def large(chunks: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pusher, list[Request]]:
    """A push of an index over two images, several blobs at once."""
    return recorded_push(tmp_path_factory.mktemp("large"), "linux/amd64", "linux/arm64", jobs=8)


def test_a_push_consists_of_everything_that_can_be_hit(small: tuple[Pusher, list[Request]]) -> None:
    """Or else the matrix has holes."""
    kinds = {request.kind for request in small[1]}

    assert {
        "ping",
        "token",
        "head-blob",
        "mount",
        "start-upload",
        "send-chunk",
        "finish-upload",
        "head-manifest",
        "put-manifest",
    } == kinds


@pytest.mark.parametrize(
    "options",
    [
        {"scheme": "none"},
        {"scheme": "basic"},
        {"token_uses": 1, "jobs": 1},  # with more, one could use up what another asked for
        {"mounts": False},
        {"locations": "absolute"},
        {"locations": "storage", "storage": True},
        {"chunk_minimum": 150_000},
    ],
    ids=str,
)
def test_registries_differ(chunks: None, tmp_path: Path, options: dict[str, Any]) -> None:
    """And are strict: what one of them complains about fails the test."""
    recorded(Pusher(tmp_path, ("linux/amd64", "linux/arm64"), **{"jobs": 4, **options}))


@pytest.mark.parametrize("trouble", often(PASSING))
def test_what_happens_once_is_overcome(trouble: Trouble, small: tuple[Pusher, list[Request]]) -> None:
    pusher, conversation = small

    assert [] == hits(trouble, conversation, pusher)


@pytest.mark.parametrize("trouble", often(LIES))
def test_what_should_never_happen_ends_well_or_as_an_error(
    trouble: Trouble, small: tuple[Pusher, list[Request]]
) -> None:
    pusher, conversation = small

    assert [] == hits(trouble, conversation, pusher)


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [*PASSING, *LIES], ids=attrgetter("name"))
def test_what_goes_on_for_ever_ends(trouble: Trouble, small: tuple[Pusher, list[Request]]) -> None:
    pusher, conversation = small

    assert [] == lasting(trouble, conversation, pusher)


@pytest.mark.slow
@pytest.mark.parametrize("trouble", PASSING, ids=attrgetter("name"))
def test_the_same_of_several_platforms(trouble: Trouble, large: tuple[Pusher, list[Request]]) -> None:
    pusher, conversation = large

    assert [] == hits(trouble, conversation, pusher)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_few_troubles_are_overcome(data: st.DataObject, small: tuple[Pusher, list[Request]]) -> None:
    """Four, because each piece of work is tried five times; what is forgotten is sent again only once."""
    pusher, conversation = small
    possible = hitting([one for one in PASSING if one.make is not faults.forgotten], conversation)
    several = data.draw(st.lists(st.sampled_from(possible), min_size=2, max_size=4))

    error, _ = pusher(lambda registry: [registry.fail(one.make(), **when) for one, when in several])

    assert None is error


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_troubles_end_well_or_as_an_error(
    data: st.DataObject, small: tuple[Pusher, list[Request]]
) -> None:
    pusher, conversation = small
    several = data.draw(st.lists(st.sampled_from(hitting([*PASSING, *LIES], conversation)), max_size=12))

    pusher(lambda registry: [registry.fail(one.make(), **when) for one, when in several])
