"""Whole images on their way to registries."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from envbuild.errors import EnvbuildError, MachineError, RemoteError
from envbuild.image.config import INDEX_TYPE, canonical, image_manifest
from envbuild.image.model import Image
from envbuild.image.reference import parse_reference
from envbuild.pack.tar import file
from envbuild.progress import Reporter, Silent
from envbuild.registry.places import known_places, remember_place
from envbuild.registry.push import Moved, Pushed, push_images
from envbuild.registry.registries import Registries
from envbuild.store import Store
from tests.registry.conftest import AT_ONCE
from tests.support.images import make_image
from tests.support.registry import FakeRegistry, Fault, fake_registry, faults
from tests.support.reporters import Counting


@pytest.fixture
def image(store: Store) -> Image:
    return make_image(store, [[file("a", b"a" * 5000)], [file("b", b"b")], [file("c", b"c")]])


def push(
    registry: FakeRegistry,
    store: Store,
    *images: Image,
    to: tuple[str, ...] = ("team/demo:1",),
    registries: Registries | None = None,
    reporter: Reporter | None = None,
) -> Pushed:
    references = [parse_reference(name if "." in name else f"{registry.address}/{name}") for name in to]
    with Registries({}, retries=AT_ONCE) as own:
        return push_images(
            images, references, store=store, registries=registries or own, reporter=reporter or Silent()
        )


def counts(pushed: Pushed) -> dict[str, int]:
    return {outcome: moved.blobs for outcome, moved in pushed.moved.items() if moved.blobs}


def kinds(registry: FakeRegistry) -> list[str]:
    return [request.kind for request in registry.requests]


def other_platform(store: Store, image: Image) -> Image:
    """The same image for another platform, with a layer of its own."""
    other = make_image(store, [[file("a", b"a" * 5000)], [file("arm", b"b")]])
    config = json.loads(store.blob_path(other.config.digest).read_bytes())
    config["architecture"] = "arm64"
    stored = store.put_blob(canonical(config))
    manifest = image_manifest(config, other.layers, config_digest=stored.digest, config_size=stored.size)
    return Image("linux/arm64", stored, store.put_blob(canonical(manifest)), other.layers)


def test_an_image(store: Store, image: Image) -> None:
    with fake_registry() as registry:
        pushed = push(registry, store, image)

        held = registry.repository("team/demo")
        assert {"1": image.manifest.digest} == held.tags
        assert {image.manifest.digest} == set(held.manifests)
        assert {image.config.digest, *(layer.digest for layer in image.layers)} == set(held.blobs)
        assert (image.manifest.digest, {"uploaded": 4}) == (pushed.top.digest, counts(pushed))
        assert sum(len(data) for data in held.blobs.values()) == pushed.moved["uploaded"].size
        assert [] == registry.contents.damages()


def test_the_order(store: Store, image: Image) -> None:
    """Nothing is named before it is there, and the tag comes last."""
    with fake_registry() as registry:
        push(registry, store, image, other_platform(store, image), to=("team/demo:1", "team/demo:2"))

        writes = [one for one in registry.requests if one.kind in ("finish-upload", "put-manifest")]
        assert 6 * ["finish-upload"] + 5 * ["put-manifest"] == [one.kind for one in writes]
        assert ["sha256"] * 3 + ["1", "2"] == [one.reference.partition(":")[0] for one in writes[6:]]


def test_large_blobs_are_begun_first(store: Store, image: Image) -> None:
    with fake_registry() as registry, Registries({}, retries=AT_ONCE, jobs=1) as registries:
        push(registry, store, image, registries=registries)

        sizes = [one.received for one in registry.asked("finish-upload")]
        assert sorted(sizes, reverse=True) == sizes


def test_several_platforms_share_what_is_equal(store: Store, image: Image) -> None:
    other = other_platform(store, image)
    with fake_registry() as registry:
        pushed = push(registry, store, other, image)

        held = registry.repository("team/demo")
        index = held.manifests[held.tags["1"]]
        assert (INDEX_TYPE, pushed.top.digest) == (index.media_type, index.digest)
        assert [("amd64", image.manifest.digest), ("arm64", other.manifest.digest)] == [
            (one["platform"]["architecture"], one["digest"]) for one in index.document["manifests"]
        ]
        assert {"uploaded": 6} == counts(pushed)


def test_a_second_push_sends_nothing(store: Store, image: Image) -> None:
    with fake_registry() as registry:
        push(registry, store, image)
        registry.forget()

        assert {"exists": 4} == counts(push(registry, store, image))
        assert 4 * ["head-blob"] + ["head-manifest", "ping", "put-manifest"] == sorted(kinds(registry))


def test_a_tag_that_is_right_is_left_alone(store: Store, image: Image) -> None:
    """Some registries let a tag be set only once."""
    with fake_registry() as registry:
        push(registry, store, image)
        registry.fail(faults.status(400, "TAG_INVALID", "immutable"), path="manifests/1$", method="PUT")

        assert {"exists": 4} == counts(push(registry, store, image))


def test_a_neighbour_has_it(store: Store, image: Image) -> None:
    with fake_registry() as registry:
        push(registry, store, image)
        registry.forget()

        assert {"mounted": 4} == counts(push(registry, store, image, to=("other/demo:1",)))
        assert 0 == registry.received("finish-upload") + registry.received("send-chunk")
        assert [] == registry.contents.damages()


def test_several_repositories_at_once(store: Store, image: Image) -> None:
    with fake_registry() as one, fake_registry() as two:
        pushed = push(
            one, store, image, to=(f"{one.address}/a:1", f"{one.address}/b:1", f"{two.address}/c:1")
        )

        assert {"uploaded": 8, "mounted": 4} == counts(pushed)
        assert {"1": image.manifest.digest} == one.repository("b").tags == two.repository("c").tags


def test_places_are_remembered(store: Store, image: Image) -> None:
    with fake_registry() as registry:
        push(registry, store, image, to=("a:1", "b:1"))

        for digest in (image.config.digest, image.layers[0].digest, image.manifest.digest):
            assert (f"{registry.address}/b", f"{registry.address}/a") == known_places(store, digest)


def test_by_digest_alone(store: Store, image: Image) -> None:
    with fake_registry() as registry:
        reference = parse_reference(f"{registry.address}/demo@{image.manifest.digest}")
        with Registries({}) as registries:
            push_images([image], [reference], store=store, registries=registries, reporter=Silent())

        assert ({}, {image.manifest.digest}) == (
            registry.repository("demo").tags,
            set(registry.repository("demo").manifests),
        )


# What is not in the store


def test_bytes_that_are_only_next_door_are_mounted(store: Store, image: Image) -> None:
    with fake_registry() as registry:
        push(registry, store, image)
        store.blob_path(image.layers[0].digest).unlink()

        assert {"mounted": 4} == counts(push(registry, store, image, to=("other/demo:1",)))


def test_bytes_that_are_only_in_another_registry_come_from_there(store: Store, image: Image) -> None:
    with fake_registry() as one, fake_registry() as two:
        push(one, store, image)
        for layer in image.layers:
            store.blob_path(layer.digest).unlink()
            remember_place(store, layer.digest, f"{one.address}/nothing/there")

        assert {"uploaded": 4} == counts(push(two, store, image))
        assert [] == two.contents.damages()
        assert one.blobs == two.blobs
        assert not store.blob_path(image.layers[0].digest).exists()


def test_bytes_that_are_nowhere(store: Store, image: Image) -> None:
    store.blob_path(image.layers[0].digest).unlink()
    with fake_registry() as registry:
        with pytest.raises(MachineError) as raised:
            push(registry, store, image)
        assert "blob-missing" == raised.value.code
        assert {} == registry.manifests


def test_a_damaged_blob_is_named_and_dropped(store: Store, image: Image) -> None:
    path = store.blob_path(image.layers[0].digest)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with fake_registry() as registry:
        with pytest.raises(MachineError, match=image.layers[0].digest) as raised:
            push(registry, store, image)
        assert "damaged-cache" == raised.value.code
        assert image.layers[0].digest not in registry.blobs
        assert ({}, False) == (registry.manifests, path.exists())


# Registries that are wrong


def test_a_registry_that_has_not_what_it_said(store: Store, image: Image) -> None:
    with fake_registry() as registry:
        sizes = {layer.digest: layer.size for layer in image.layers}
        for digest, size in sizes.items():
            registry.fail(faults.phantom(size), kind="head-blob", path=digest)

        pushed = push(registry, store, image)

        assert {"1": image.manifest.digest} == registry.repository("team/demo").tags
        assert [] == registry.contents.damages()
        assert {"uploaded": 4} == counts(pushed)


def test_a_registry_that_never_has_it(store: Store, image: Image) -> None:
    with fake_registry() as registry:
        registry.fail(faults.forgotten(), kind="finish-upload", times=None)

        with pytest.raises(RemoteError) as raised:
            push(registry, store, image)
        assert "registry-lacks-blob" == raised.value.code
        assert {} == registry.repository("team/demo").tags


@pytest.mark.parametrize("fault", [faults.answer_lost(), faults.too_busy()])
@pytest.mark.parametrize("number", [1, 4, 8, 12, 14])
def test_any_request_may_fail(store: Store, image: Image, fault: Fault, number: int) -> None:
    with fake_registry() as registry:
        registry.fail(fault, number=number)
        stage = Counting()

        pushed = push(registry, store, image, reporter=_Into(stage))

        assert {"1": image.manifest.digest} == registry.repository("team/demo").tags
        assert [] == registry.contents.damages()
        assert {"uploaded": 4} == counts(pushed) or 1 == counts(pushed)["exists"]
        assert (sum(moved.size for moved in pushed.moved.values()), 0) == (
            stage.done,
            stage.total - stage.done,
        )


class _Into(Silent):
    """Gives every stage the same counter."""

    def __init__(self, stage: Counting) -> None:
        self._stage = stage

    @contextmanager
    def stage(self, name: str, *, unit: str = "B") -> Iterator[Counting]:
        yield self._stage


def test_the_first_failure_ends_the_others(store: Store, image: Image) -> None:
    with fake_registry() as registry:
        registry.fail(faults.status(403, "DENIED", "not yours"), kind="start-upload", times=None)

        with pytest.raises(EnvbuildError) as raised:
            push(registry, store, image)
        assert "registry-denied" == raised.value.code
        assert {} == registry.blobs


def test_an_interrupt_ends_it_at_once(store: Store, image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although a registry has not answered yet."""

    def interrupted(futures: object) -> Iterator[object]:
        assert asked.wait(300)
        raise KeyboardInterrupt
        yield

    asked = threading.Event()
    monkeypatch.setattr("envbuild.registry.parallel.as_completed", interrupted)
    with fake_registry() as registry:

        def wait(registry: FakeRegistry, exchange: object) -> object:
            asked.set()
            return faults.silent(20)(registry, exchange)  # type: ignore[arg-type]

        registry.fail(wait, kind="start-upload", times=None)  # type: ignore[arg-type]
        with pytest.raises(KeyboardInterrupt):
            push(registry, store, image)
        registry.heal()


def test_moved_counts() -> None:
    assert Moved(2, 10) == replace(Moved(), blobs=2, size=10)
