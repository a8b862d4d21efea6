"""Everything that can happen to every request of a pull.

The outcome is the whole image in the store, or an error with exit code 4 and no blob that is not what its
name says; the next pull gets there, whatever came before.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.errors import EnvbuildError, RemoteError, UsageError
from envbuild.image.layout import image_index
from envbuild.image.model import Image
from envbuild.image.reference import parse_reference
from envbuild.pack.tar import file
from envbuild.progress import Silent
from envbuild.pull import pull_image
from envbuild.registry.registries import Registries
from envbuild.store import Blob, Store
from tests.registry.conftest import AT_ONCE
from tests.support.images import make_image
from tests.support.registry import FakeRegistry, digest_of, fake_registry
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

REPOSITORY = "team/demo"
PLATFORMS = ("linux/amd64", "linux/arm64")
RANDOM = random.Random(5)


class Puller:
    """An image for each platform under an index, and the pulls of these, ``jobs`` blobs at once."""

    def __init__(self, directory: Path, jobs: int) -> None:
        self.jobs = jobs
        self.home = directory
        store = Store(directory / "original")
        store.prepare()
        large = [file("large", RANDOM.randbytes(250_000))]
        self.images = [
            make_image(store, [[file("base", b"base")], large, [file("own", one.encode())]], platform=one)
            for one in PLATFORMS
        ]
        self.manifests = [self._read(store, image.manifest) for image in self.images]
        self.manifests.append(self._read(store, image_index(self.images, store)))
        self.blobs = [self._read(store, blob) for image in self.images for blob in _parts(image)]

    def __call__(self, prepare: Callable[[FakeRegistry], object]) -> Outcome:
        """Pull into an empty store, look at it, heal the registry if it failed, and pull again."""
        with (
            fake_registry(scheme="bearer", users={"me": "secret"}, storage=True) as registry,
            TemporaryDirectory(dir=self.home) as scratch,
        ):
            for blob in self.blobs:
                registry.put_blob(REPOSITORY, blob)
            for manifest in self.manifests[:-1]:
                registry.put_manifest(REPOSITORY, manifest)
            registry.put_manifest(REPOSITORY, self.manifests[-1], "1.0")
            store = Store(Path(scratch) / "cache")
            store.prepare()
            prepare(registry)
            error = self._pulled(registry, store)
            requests = list(registry.requests)
            registry.heal()
            if error is not None:
                again = self._pulled(registry, store)
                assert again is None, f"after {error}, again: {again}"
        return error, requests

    def _pulled(self, registry: FakeRegistry, store: Store) -> EnvbuildError | None:
        secret = base64.b64encode(b"me:secret").decode()
        (self.home / "config.json").write_text(json.dumps({"auths": {registry.address: {"auth": secret}}}))
        reference = parse_reference(f"{registry.address}/{REPOSITORY}:1.0")
        pulled: Sequence[Image] | None = None
        raised: EnvbuildError | None = None
        try:
            with Registries({"DOCKER_CONFIG": str(self.home)}, jobs=self.jobs, retries=AT_ONCE) as registries:
                pulled = pull_image(
                    reference,
                    platforms=PLATFORMS,
                    native=PLATFORMS[0],
                    store=store,
                    registries=registries,
                    reporter=Silent(),
                ).images
        except (RemoteError, UsageError) as error:
            raised = error
            assert "secret" not in f"{error}{error.detail}{error.remedy}"
            # Who is told that there is nothing under a name has got the name wrong.
            told = [one.status for one in registry.asked("get-manifest") if one.reference == "1.0"]
            assert isinstance(error, RemoteError) or ("no-image-there", 404) == (error.code, told[-1])
        for path in store.blobs.iterdir():
            assert f"sha256:{path.name}" == digest_of(path.read_bytes())
        assert [] == list(store.tmp.iterdir())
        if pulled is not None:
            assert [image.manifest for image in self.images] == [image.manifest for image in pulled]
            assert [image.config for image in self.images] == [image.config for image in pulled]
            for blob in (blob for image in self.images for blob in _parts(image)):
                assert store.has_blob(blob.digest, blob.size)
        return raised

    @staticmethod
    def _read(store: Store, blob: Blob) -> bytes:
        return store.blob_path(blob.digest).read_bytes()


def _parts(image: Image) -> list[Blob]:
    return [image.config, *(Blob(layer.digest, layer.size) for layer in image.layers)]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Puller, list[Request]]:
    """A pull of one blob after the other."""
    puller = Puller(tmp_path_factory.mktemp("small"), jobs=1)
    return puller, recorded(puller)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Puller, list[Request]]:
    """A pull of several blobs at once."""
    puller = Puller(tmp_path_factory.mktemp("large"), jobs=8)
    return puller, recorded(puller)


def test_a_pull_consists_of_everything_that_can_be_hit(small: tuple[Puller, list[Request]]) -> None:
    """Or else the matrix has holes."""
    puller, conversation = small

    assert {"ping", "token", "get-manifest", "get-blob"} == {request.kind for request in conversation}
    assert 3 == len([request for request in conversation if request.kind == "get-manifest"])
    assert 2 * len(set(puller.blobs)) == len([one for one in conversation if one.kind == "get-blob"])


@pytest.mark.parametrize("trouble", often(PASSING))
def test_what_happens_once_is_overcome(trouble: Trouble, small: tuple[Puller, list[Request]]) -> None:
    puller, conversation = small

    assert [] == hits(trouble, conversation, puller)


@pytest.mark.parametrize("trouble", often(LIES))
def test_what_should_never_happen_ends_well_or_as_an_error(
    trouble: Trouble, small: tuple[Puller, list[Request]]
) -> None:
    puller, conversation = small

    assert [] == hits(trouble, conversation, puller)


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [*PASSING, *LIES], ids=attrgetter("name"))
def test_what_goes_on_for_ever_ends(trouble: Trouble, small: tuple[Puller, list[Request]]) -> None:
    puller, conversation = small

    assert [] == lasting(trouble, conversation, puller)


@pytest.mark.slow
@pytest.mark.parametrize("trouble", PASSING, ids=attrgetter("name"))
def test_the_same_of_several_blobs_at_once(trouble: Trouble, large: tuple[Puller, list[Request]]) -> None:
    puller, conversation = large

    assert [] == hits(trouble, conversation, puller)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_few_troubles_are_overcome(data: st.DataObject, small: tuple[Puller, list[Request]]) -> None:
    """Four, because each piece of work is tried five times."""
    puller, conversation = small
    several = data.draw(st.lists(st.sampled_from(hitting(PASSING, conversation)), min_size=2, max_size=4))

    error, _ = puller(lambda registry: [registry.fail(one.make(), **when) for one, when in several])

    assert None is error


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_troubles_end_well_or_as_an_error(
    data: st.DataObject, small: tuple[Puller, list[Request]]
) -> None:
    puller, conversation = small
    several = data.draw(st.lists(st.sampled_from(hitting([*PASSING, *LIES], conversation)), max_size=12))

    puller(lambda registry: [registry.fail(one.make(), **when) for one, when in several])
