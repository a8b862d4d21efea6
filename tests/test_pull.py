"""Images on their way into the cache: from registries, layouts and archives."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from envbuild.errors import EnvbuildError, RemoteError, UsageError
from envbuild.image.archive import write_archive
from envbuild.image.blobs import layer_chunks
from envbuild.image.config import CONFIG_TYPE, INDEX_TYPE, MANIFEST_TYPE, canonical
from envbuild.image.layout import write_layout
from envbuild.image.model import Image
from envbuild.image.reference import parse_reference
from envbuild.inspection.archive import ArchiveImage
from envbuild.inspection.layout import LayoutImage
from envbuild.pack.tar import file
from envbuild.progress import Silent
from envbuild.pull import Pulled, pull_image, take_images
from envbuild.registry.places import known_places
from envbuild.registry.push import push_images
from envbuild.registry.registries import Registries
from envbuild.registry.retry import Retries
from envbuild.store import Store
from tests.support.images import make_image
from tests.support.registry import FakeRegistry, digest_of, fake_registry, faults

AMD64, ARM64 = "linux/amd64", "linux/arm64"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
TAR = b"not quite a tar, but nobody unpacks it" * 50


def new_store(path: Path) -> Store:
    made = Store(path)
    made.prepare()
    return made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(tmp_path / "cache")


@pytest.fixture
def image(tmp_path: Path) -> tuple[Store, Image]:
    """An image of ours, in a cache of its own."""
    own = new_store(tmp_path / "own")
    return own, make_image(own, [[file("a", b"a" * 5000)], [file("b", b"b")]])


def pull(
    registry: FakeRegistry,
    store: Store,
    name: str = "team/demo:1",
    *,
    platforms: Sequence[str] = (),
    native: str = AMD64,
) -> Pulled:
    with Registries({}, retries=Retries(first_pause=0.0)) as registries:
        return pull_image(
            parse_reference(f"{registry.address}/{name}"),
            platforms=platforms,
            native=native,
            store=store,
            registries=registries,
            reporter=Silent(),
        )


def push(registry: FakeRegistry, store: Store, *images: Image, name: str = "team/demo:1") -> str:
    with Registries({}) as registries:
        reference = parse_reference(f"{registry.address}/{name}")
        pushed = push_images(images, [reference], store=store, registries=registries, reporter=Silent())
    return pushed.top.digest


def foreign(registry: FakeRegistry, *, platform: str = AMD64, tag: str | None = "1", **changes: Any) -> str:
    """An image as Docker pushes it, with these parts of its manifest or config changed."""
    layer = gzip.compress(TAR)
    system, architecture = platform.split("/")[:2]
    config = {
        "os": system,
        "architecture": architecture,
        "config": {"Env": ["PATH=/bin"]},
        "history": [
            {"created_by": "ADD rootfs.tar / # buildkit"},
            {"created_by": "ENV A=b", "empty_layer": True},
        ],
        "rootfs": {"type": "layers", "diff_ids": [digest_of(TAR)]},
        **changes.pop("config", {}),
    }
    data = canonical(config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": DOCKER_CONFIG, "digest": digest_of(data), "size": len(data)},
        "layers": [{"mediaType": DOCKER_LAYER, "digest": digest_of(layer), "size": len(layer)}],
        **changes,
    }
    for blob in (data, layer):
        registry.put_blob("team/demo", blob)
    return registry.put_manifest("team/demo", manifest, tag)


def index(registry: FakeRegistry, entries: dict[str, str], media_type: str = INDEX_TYPE) -> str:
    """An index over manifests by platform."""
    listed = []
    for platform, digest in entries.items():
        parts = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
        held = registry.manifests[digest]
        listed.append(
            {"mediaType": held.media_type, "digest": digest, "size": len(held.data), "platform": parts}
        )
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": listed}
    return registry.put_manifest("team/demo", document, "1")


# From registries


def test_an_image_of_ours(store: Store, image: tuple[Store, Image]) -> None:
    own, pushed = image
    with fake_registry() as registry:
        push(registry, own, pushed)

        pulled = pull(registry, store)

        (got,) = pulled.images
        assert (pushed.manifest.digest, pushed.manifest, pushed.config) == (
            pulled.digest,
            got.manifest,
            got.config,
        )
        assert [(one.diff_id, one.digest, one.raw_size, one.compression) for one in pushed.layers] == [
            (one.diff_id, one.digest, one.raw_size, one.compression) for one in got.layers
        ]
        assert [False, False] == [layer.cached for layer in got.layers]
        for layer in got.layers:
            assert layer.raw_size == sum(map(len, layer_chunks(store, layer)))
            assert (f"{registry.address}/team/demo",) == known_places(store, layer.digest)

        registry.forget()
        (again,) = pull(registry, store).images
        assert [True, True] == [layer.cached for layer in again.layers]
        assert pushed.config.size == registry.sent("get-blob")


def test_what_was_pulled_is_pushed_again_as_it_was(store: Store, image: tuple[Store, Image]) -> None:
    own, pushed = image
    with fake_registry() as one, fake_registry() as two:
        digest = push(one, own, pushed)
        assert digest == push(two, store, *pull(one, store).images)


def test_an_image_of_dockers(store: Store) -> None:
    with fake_registry() as registry:
        digest = foreign(registry)

        pulled = pull(registry, store)

        (got,) = pulled.images
        assert digest == pulled.digest
        assert digest != got.manifest.digest
        manifest = json.loads(store.blob_path(got.manifest.digest).read_bytes())
        assert (MANIFEST_TYPE, CONFIG_TYPE) == (manifest["mediaType"], manifest["config"]["mediaType"])
        assert "application/vnd.oci.image.layer.v1.tar+gzip" == manifest["layers"][0]["mediaType"]
        (layer,) = got.layers
        assert ("ADD rootfs.tar / # buildkit", len(TAR), "gzip") == (
            layer.title,
            layer.raw_size,
            layer.compression,
        )
        assert TAR == b"".join(layer_chunks(store, layer))


def test_the_image_of_this_machine_is_chosen(store: Store) -> None:
    with fake_registry() as registry:
        digests = {platform: foreign(registry, platform=platform, tag=None) for platform in (AMD64, ARM64)}
        whole = index(registry, digests, DOCKER_INDEX)

        assert (whole, [ARM64]) == ((one := pull(registry, store, native=ARM64)).digest, platforms(one))
        both = pull(registry, store, platforms=(ARM64, AMD64))
        assert [ARM64, AMD64] == platforms(both)


def platforms(pulled: Pulled) -> list[str]:
    return [image.platform for image in pulled.images]


def test_a_variant_of_an_architecture_will_do(store: Store) -> None:
    with fake_registry() as registry:
        digest = foreign(registry, platform=ARM64, tag=None, config={"variant": "v8"})
        index(registry, {"linux/arm/v7": digest, "linux/arm64/v8": digest})

        assert [ARM64] == platforms(pull(registry, store, native=ARM64))


def test_a_platform_that_is_not_there(store: Store) -> None:
    with fake_registry() as registry:
        index(registry, {ARM64: foreign(registry, platform=ARM64, tag=None)})

        for wanted in ((), (AMD64,)):
            with pytest.raises(UsageError, match="no image for linux/amd64") as raised:
                pull(registry, store, platforms=wanted)
            assert "it is for linux/arm64" == raised.value.remedy


def test_the_only_image_is_taken_unless_another_platform_is_named(store: Store) -> None:
    with fake_registry() as registry:
        foreign(registry, platform=ARM64)

        assert [ARM64] == platforms(pull(registry, store))
        with pytest.raises(UsageError, match="no image for linux/amd64"):
            pull(registry, store, platforms=(AMD64,))


def test_a_digest(store: Store) -> None:
    with fake_registry() as registry:
        digest = foreign(registry, tag=None)

        assert digest == pull(registry, store, f"team/demo@{digest}").digest


def test_an_image_that_is_not_there(store: Store) -> None:
    with fake_registry() as registry:
        foreign(registry)

        for name in ("team/demo:2", "team/nothing:1"):
            with pytest.raises(UsageError) as raised:
                pull(registry, store, name)
            assert "no-image-there" == raised.value.code


# What is refused


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": None},
        {"layers": {}},
        {"layers": [7]},
        {"layers": []},
        {"layers": [{"mediaType": DOCKER_LAYER, "digest": "sha512:" + "a" * 128, "size": 1}]},
        {"layers": [{"mediaType": DOCKER_LAYER, "digest": "sha256:../../etc/passwd", "size": 1}]},
        {"config": {"rootfs": {"diff_ids": []}}},
        {"config": {"rootfs": {"diff_ids": ["sha256:" + "0" * 64]}}},
        {"config": {"rootfs": None}},
        {"config": {"architecture": 7}},
    ],
)
def test_manifests_that_make_no_sense(store: Store, changes: dict[str, Any]) -> None:
    with fake_registry() as registry:
        digest = foreign(registry)
        document = {**registry.manifests[digest].document, **changes}
        if "config" in changes:
            config = canonical(
                {**json.loads(registry.blobs[document_config(registry, digest)]), **changes["config"]}
            )
            registry.put_blob("team/demo", config)
            document["config"] = {
                "mediaType": DOCKER_CONFIG,
                "digest": digest_of(config),
                "size": len(config),
            }
        registry.fail(faults.swapped(canonical(document), DOCKER_MANIFEST), kind="get-manifest", times=None)

        with pytest.raises(RemoteError) as raised:
            pull(registry, store)
        assert "bad-image" == raised.value.code


def document_config(registry: FakeRegistry, digest: str) -> str:
    return str(registry.manifests[digest].document["config"]["digest"])


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws"),
        (b"not json", MANIFEST_TYPE),
        (b"[]", MANIFEST_TYPE),
        (b"[" * 100_000, MANIFEST_TYPE),
        (b"{}", INDEX_TYPE),
        (b'{"manifests": 7}', INDEX_TYPE),
        (b'{"manifests": []}', INDEX_TYPE),
        (b"{}", "application/vnd.example.artifact+json"),
        (b"<html>", "text/html"),
    ],
)
def test_what_is_no_image(store: Store, data: bytes, media_type: str) -> None:
    with fake_registry() as registry:
        foreign(registry)
        registry.fail(faults.swapped(data, media_type), kind="get-manifest", times=None)

        with pytest.raises(EnvbuildError) as raised:
            pull(registry, store)
        assert raised.value.code in ("bad-image", "no-image-there")
        assert [] == [path for path in store.blobs.iterdir() if path.stat().st_size > 1000]


def test_too_many_layers(store: Store) -> None:
    with fake_registry() as registry:
        digest = foreign(registry)
        document = registry.manifests[digest].document
        document["layers"] *= 20_000
        registry.fail(faults.swapped(canonical(document), DOCKER_MANIFEST), kind="get-manifest", times=None)

        with pytest.raises(RemoteError) as raised:
            pull(registry, store)
        assert raised.value.code in ("bad-image", "answer-too-long")
        assert 0 == registry.count("get-blob")


def test_a_layer_of_an_unknown_kind(store: Store) -> None:
    with fake_registry() as registry:
        digest = foreign(registry)
        document = registry.manifests[digest].document
        document["layers"][0]["mediaType"] = "application/vnd.example.layer+xz"
        registry.put_manifest("team/demo", document, "1")

        with pytest.raises(RemoteError, match=r"application/vnd\.example\.layer\+xz, which is not known"):
            pull(registry, store)


def test_a_layer_that_is_not_what_the_config_names(store: Store) -> None:
    with fake_registry() as registry:
        foreign(registry, config={"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}})

        with pytest.raises(RemoteError, match="is not the one that its config names"):
            pull(registry, store)


def test_a_layer_that_cannot_be_unpacked(store: Store) -> None:
    with fake_registry() as registry:
        data = b"not gzip at all"
        registry.put_blob("team/demo", data)
        foreign(registry, layers=[{"mediaType": DOCKER_LAYER, "digest": digest_of(data), "size": len(data)}])

        with pytest.raises(RemoteError, match="cannot be unpacked"):
            pull(registry, store)


def test_a_layer_that_unfolds_without_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envbuild.pull._LARGEST_RAW", 1000)
    with fake_registry() as registry:
        foreign(registry)

        with pytest.raises(RemoteError, match="unfolds without end"):
            pull(registry, store)


def test_layers_that_are_repeated_are_fetched_once(store: Store) -> None:
    """Docker's images have the same empty layer more than once."""
    with fake_registry() as registry:
        digest = foreign(registry)
        layer = registry.manifests[digest].document["layers"][0]
        twice = {"rootfs": {"type": "layers", "diff_ids": 2 * [digest_of(TAR)]}}
        foreign(registry, layers=[layer, layer], config=twice)

        (got,) = pull(registry, store).images
        assert 2 == len(got.layers)
        assert 2 == registry.count("get-blob")  # with the config


# From files


@pytest.mark.parametrize("kind", ["layout", "archive"])
def test_files(store: Store, image: tuple[Store, Image], tmp_path: Path, kind: str) -> None:
    own, written = image
    medium: Any
    if kind == "layout":
        write_layout([written], own, tmp_path / "layout", ["demo:1"])
        medium = LayoutImage(tmp_path / "layout")
    else:
        with (tmp_path / "image.tar").open("wb") as sink:
            write_archive(written, own, sink, ["demo:1"])
        medium = ArchiveImage(tmp_path / "image.tar")

    (got,) = take_images(medium, platforms=(), store=store, jobs=2, reporter=Silent())

    assert written.image_id == got.image_id
    assert [layer.diff_id for layer in written.layers] == [layer.diff_id for layer in got.layers]
    for layer in got.layers:
        assert layer.raw_size == sum(map(len, layer_chunks(store, layer)))


def test_a_damaged_file(store: Store, image: tuple[Store, Image], tmp_path: Path) -> None:
    own, written = image
    write_layout([written], own, tmp_path / "layout")
    path = tmp_path / "layout" / "blobs" / "sha256" / written.layers[0].digest.removeprefix("sha256:")
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    with pytest.raises(UsageError, match="damaged"):
        take_images(LayoutImage(tmp_path / "layout"), platforms=(), store=store, jobs=2, reporter=Silent())
    assert not store.blob_path(written.layers[0].digest).exists()


@pytest.mark.parametrize(
    "fault",
    [faults.dropped(), faults.status(503), faults.truncated(), faults.wrong_bytes(), faults.shorter()],
)
@pytest.mark.parametrize("number", range(6))
def test_any_request_may_fail(
    store: Store, image: tuple[Store, Image], fault: Callable[..., Any], number: int
) -> None:
    own, pushed = image
    with fake_registry() as registry:
        push(registry, own, pushed)
        registry.forget()
        registry.fail(fault, number=number)
        try:
            (got,) = pull(registry, store).images
        except EnvbuildError as error:
            assert (4, []) == (error.exit_code, list(store.tmp.iterdir()))
            return
        assert pushed.manifest == got.manifest
        assert all(sum(map(len, layer_chunks(store, layer))) for layer in got.layers)
