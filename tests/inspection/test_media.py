"""Images in layouts, archives, the cache and registries: the same view of each, and nothing believed."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envbuild.errors import EnvbuildError, RemoteError, UsageError
from envbuild.image.archive import write_archive
from envbuild.image.blobs import layer_chunks, uncompressed
from envbuild.image.descriptor import Descriptor
from envbuild.image.layout import write_layout
from envbuild.image.model import Image
from envbuild.image.reference import parse_reference
from envbuild.inspection.archive import ArchiveImage
from envbuild.inspection.inside import read_inside
from envbuild.inspection.layout import LayoutImage, split_name
from envbuild.inspection.medium import INDEX_TYPES, Medium
from envbuild.inspection.remote import RemoteImage
from envbuild.inspection.view import ImageView, chosen_manifests, read_image
from envbuild.pack.tar import file
from tests.inspection.conftest import LOCK, Studio
from tests.support.remote import fetched, pushed
from tests.support.tampering import as_medium


def view(medium: Medium) -> ImageView:
    return read_image(medium, medium.entries().images[0])


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


# What is seen


def test_an_image_of_ours_in_full(studio: Studio) -> None:
    image = studio.image()
    medium = as_medium(studio.store, image)
    seen = view(medium)

    assert (image.image_id, image.manifest.digest) == (seen.image_id, seen.manifest.digest)
    assert ("linux/amd64", "envbuild", "2026-01-01T00:00:00Z") == (seen.platform, seen.builder, seen.created)
    assert ["numpy", "pandas", "environment, kernels and entry point"] == [
        layer.title for layer in seen.layers
    ]
    assert [("numpy==2.0",), ("pandas==3.0",), ()] == [layer.packages for layer in seen.layers]
    assert [
        (layer.diff_id, layer.digest, layer.size, layer.raw_size, layer.key) for layer in image.layers
    ] == [(layer.diff_id, layer.digest, layer.size, layer.raw_size, layer.key) for layer in seen.layers]
    inside = read_inside(medium, seen)
    assert (LOCK, None, seen.lock_digest) == (inside.lock, inside.trouble, inside.lock_digest)
    assert [("demo", "Python (Demo)", "python"), ("python3", "Python (Demo)", "python")] == [
        (kernel.name, kernel.display_name, kernel.language) for kernel in inside.kernels
    ]


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_every_medium_shows_the_same_image(studio: Studio, tmp_path: Path, compression: str) -> None:
    image = studio.image(compression=compression)
    write_layout([image], studio.store, tmp_path / "layout", ["demo:1"])
    with (tmp_path / "image.tar").open("wb") as sink:
        write_archive(image, studio.store, sink)
    expected = view(as_medium(studio.store, image))

    assert expected == view(LayoutImage(tmp_path / "layout", "demo:1"))
    from_archive = view(ArchiveImage(tmp_path / "image.tar"))
    assert (expected.config, expected.document) == (from_archive.config, from_archive.document)
    with pushed(studio.store, [image]) as (_, remote):
        assert expected == view(remote)
        assert LOCK == read_inside(remote, view(remote)).lock


def test_of_a_registry_only_what_is_small_is_fetched(studio: Studio) -> None:
    image = studio.image()
    with pushed(studio.store, [image]) as (registry, remote):
        read_inside(remote, view(remote))

        glue = image.layers[-1].digest
        assert {image.config.digest, glue} == fetched(registry)


def test_an_image_for_several_platforms(studio: Studio, tmp_path: Path) -> None:
    images = [studio.image(), studio.image(platform="linux/arm64")]
    write_layout(images, studio.store, tmp_path / "layout")
    medium = LayoutImage(tmp_path / "layout")
    entries = medium.entries()

    assert entries.top is not None
    assert entries.top.media_type in INDEX_TYPES
    assert ["linux/amd64", "linux/arm64"] == [image.platform for image in entries.images]
    chosen = chosen_manifests(medium, entries, [], "linux/arm64")
    assert ["linux/arm64"] == [read_image(medium, one).platform for one in chosen]
    assert [entries.images[0]] == list(chosen_manifests(medium, entries, [], "linux/s390x"))
    assert list(entries.images) == list(
        chosen_manifests(medium, entries, ["linux/amd64", "linux/arm64"], "linux/amd64")
    )
    with pytest.raises(UsageError, match="has no image for linux/s390x") as caught:
        chosen_manifests(medium, entries, ["linux/s390x"], "linux/amd64")
    assert "it is for linux/amd64, linux/arm64" == caught.value.remedy


def test_attestations_in_an_index_are_no_images(studio: Studio) -> None:
    """As BuildKit pushes them: manifests for the platform unknown/unknown."""
    image = studio.image()
    with pushed(studio.store, [image]) as (registry, remote):
        own = registry.repository("team/demo").tags["1"]
        held = registry.manifests[own]
        manifest = {"mediaType": held.media_type, "digest": own, "size": len(held.data)}
        index = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                {**manifest, "platform": {"os": "linux", "architecture": "amd64"}},
                {**manifest, "platform": {"os": "unknown", "architecture": "unknown"}},
            ],
        }
        registry.put_manifest("team/demo", index, "1")
        entries = remote.entries()

    assert (["linux/amd64"], ["unknown/unknown"]) == (
        [one.platform for one in entries.images],
        [one.platform for one in entries.others],
    )


# Images of others


def _docker_save(image: Image, studio: Studio, path: Path) -> None:
    """As ``docker save`` before version 25 wrote it: no digests, and layers by the names of directories."""
    config = studio.store.blob_path(image.config.digest).read_bytes()
    with tarfile.open(path, "w") as archive:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        names = []
        for number, layer in enumerate(image.layers):
            add(f"layer{number}/layer.tar", b"".join(layer_chunks(studio.store, layer)))
            names.append(f"layer{number}/layer.tar")
        link = tarfile.TarInfo("twin/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../layer0/layer.tar"
        archive.addfile(link)
        names[0] = "twin/layer.tar"
        add("config.json", config)
        document = [{"Config": "config.json", "RepoTags": ["demo:1"], "Layers": names}]
        add("manifest.json", json.dumps(document).encode())


def test_what_docker_saved_long_ago(studio: Studio, tmp_path: Path) -> None:
    image = studio.image()
    _docker_save(image, studio, tmp_path / "image.tar")
    medium = ArchiveImage(tmp_path / "image.tar")
    seen = view(medium)

    assert (image.image_id, None) == (seen.image_id, medium.entries().top)
    assert [layer.raw_size for layer in image.layers] == [layer.size for layer in seen.layers]
    assert LOCK == read_inside(medium, seen).lock
    named = ArchiveImage(tmp_path / "image.tar", "demo:1")
    assert seen == view(named)
    with pytest.raises(UsageError, match="0 images of that name"):
        ArchiveImage(tmp_path / "image.tar", "other:1").entries()


def _foreign(studio: Studio, config: dict[str, Any], layers: list[str]) -> LayoutImage:
    """An image somebody else made, in a layout: ``layers`` are media types."""
    directory = studio.store.root / "foreign"
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, Any]:
        (blobs / digest(data)[7:]).write_bytes(data)
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    manifest = {
        "schemaVersion": 2,
        "config": put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [put(f"layer {number}".encode(), kind) for number, kind in enumerate(layers)],
    }
    entry = put(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return LayoutImage(directory)


GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def test_an_image_that_somebody_else_made(studio: Studio) -> None:
    config = {
        "os": "linux",
        "architecture": "arm",
        "variant": "v7",
        "config": {"Env": ["PYTHON_VERSION=3.12.1"], "Labels": None},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "1" * 64, "sha256:" + "2" * 64]},
        "history": [
            {"created_by": "/bin/sh -c #(nop) ADD file:1 in /"},
            {"created_by": "CMD bash", "empty_layer": True},
            {"created_by": "RUN pip install: numpy"},
        ],
    }
    medium = _foreign(studio, config, [GZIP, "application/x-unheard-of"])
    seen = view(medium)

    assert ("linux/arm/v7", None, None, {}) == (seen.platform, seen.builder, seen.recipe, seen.labels)
    assert [
        ("/bin/sh -c #(nop) ADD file:1 in /", (), "gzip"),
        ("RUN pip install: numpy", (), None),
    ] == [(layer.title, layer.packages, layer.compression) for layer in seen.layers]
    assert "the image does not tell which layer would have its lock" == read_inside(medium, seen).trouble


def test_a_history_that_does_not_fit_says_nothing(studio: Studio) -> None:
    config = {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"diff_ids": ["sha256:" + "1" * 64]},
        "history": [{"created_by": "a"}, {"created_by": "b"}],
    }

    assert [""] == [layer.title for layer in view(_foreign(studio, config, [GZIP])).layers]


@pytest.mark.parametrize(
    ("config", "trouble"),
    [
        ([], "not an object"),
        ({}, "it is no container image"),
        ({"rootfs": {"diff_ids": []}}, "it is no container image"),
        ({"rootfs": {"diff_ids": ["a"]}}, "names no platform"),
        ({"rootfs": {"diff_ids": ["a"]}, "os": 1, "architecture": "amd64"}, "names no platform"),
        (
            {"rootfs": {"diff_ids": ["a"]}, "os": "a", "architecture": "b", "config": [1]},
            "no object `config`",
        ),
    ],
)
def test_configs_that_make_no_sense(studio: Studio, config: Any, trouble: str) -> None:
    medium = _foreign(studio, config, [GZIP])
    with pytest.raises(UsageError, match=trouble) as caught:
        view(medium)
    assert "bad-image" == caught.value.code


# What is wrong


def _layout(studio: Studio, tmp_path: Path) -> tuple[Path, Image]:
    image = studio.image()
    write_layout([image], studio.store, tmp_path / "layout", ["demo:1"])
    return tmp_path / "layout", image


def _blob(layout: Path, name: str) -> Path:
    return layout / "blobs" / "sha256" / name.removeprefix("sha256:")


def test_a_layout_of_several_images(studio: Studio, tmp_path: Path) -> None:
    layout, _ = _layout(studio, tmp_path)
    write_layout([studio.image(compression="gzip")], studio.store, layout, ["other:2"])

    assert "gzip" == view(LayoutImage(layout, "2")).layers[0].compression
    assert "zstd" == view(LayoutImage(layout, "demo:1")).layers[0].compression
    for wanted, message in ((None, "there are 2 images"), ("third", "no image called 'third'")):
        with pytest.raises(UsageError, match=message) as caught:
            LayoutImage(layout, wanted).entries()
        assert "name one after a colon: demo:1, other:2" == caught.value.remedy


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(b"x" * path.stat().st_size), "is damaged"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "is damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is damaged"),
    ],
)
@pytest.mark.parametrize("part", ["config", "manifest", "glue"])
def test_damaged_files_of_a_layout(
    studio: Studio, tmp_path: Path, part: str, damage: Callable[[Path], object], message: str
) -> None:
    layout, image = _layout(studio, tmp_path)
    parts = {"config": image.config, "manifest": image.manifest, "glue": image.layers[-1]}
    damage(_blob(layout, parts[part].digest))
    medium = LayoutImage(layout)

    with pytest.raises(UsageError, match=message):
        read_inside(medium, view(medium))


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"[]",
        b"{}",
        b'{"manifests": 5}',
        b'{"manifests": [5]}',
        b'{"manifests": [{"digest": "sha256:../../../etc/passwd", "size": 1, "mediaType": "x"}]}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_an_index_that_makes_no_sense(studio: Studio, tmp_path: Path, index: bytes) -> None:
    layout, _ = _layout(studio, tmp_path)
    (layout / "index.json").write_bytes(index)

    with pytest.raises(UsageError):
        LayoutImage(layout).entries()


def test_nothing_is_there(tmp_path: Path) -> None:
    for medium in (LayoutImage(tmp_path / "nowhere"), ArchiveImage(tmp_path / "nowhere.tar")):
        with pytest.raises(UsageError) as caught:
            medium.entries()
        assert "no-image-there" == caught.value.code


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", bytes(2048)])
def test_a_file_that_is_no_archive_of_an_image(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "image.tar").write_bytes(data)

    with pytest.raises(UsageError) as caught:
        ArchiveImage(tmp_path / "image.tar").entries()
    assert "bad-image" == caught.value.code


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b"[5]",
        b'[{"Config": 5, "Layers": []}]',
        b'[{"Config": "config.json", "Layers": ["a", "b"]}]',
        b'[{"Config": "../../etc/passwd", "Layers": []}]',
        b'[{"Config": "manifest.json", "Layers": []}]',
        b'[{"Config": "loop", "Layers": []}]',
        b"[" * 100_000,
    ],
)
def test_a_docker_archive_that_makes_no_sense(tmp_path: Path, document: bytes) -> None:
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        for name, data in (("manifest.json", document), ("config.json", b'{"rootfs": {"diff_ids": ["a"]}}')):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        loop = tarfile.TarInfo("loop")
        loop.type, loop.linkname = tarfile.SYMTYPE, "loop"
        archive.addfile(loop)

    with pytest.raises(UsageError) as caught:
        ArchiveImage(tmp_path / "image.tar").entries()
    assert "bad-image" == caught.value.code


def test_a_registry_without_the_image(studio: Studio) -> None:
    with pushed(studio.store, [studio.image()]) as (registry, remote):
        missing = RemoteImage(parse_reference(f"{registry.address}/team/demo:2"), remote.repository)
        with pytest.raises(UsageError, match="there is no image"):
            missing.entries()


def test_a_document_that_is_too_large_is_not_fetched(studio: Studio) -> None:
    with pushed(studio.store, [studio.image()]) as (registry, remote):
        with pytest.raises(RemoteError, match="too large"):
            remote.document(Descriptor("application/json", "sha256:" + "0" * 64, 5 << 20))

        assert 0 == registry.count("get-blob")


# Locks that are not what they should be


def test_a_lock_that_is_not_the_one_of_the_label(studio: Studio) -> None:
    medium = as_medium(studio.store, studio.image(lock_digest="sha256:" + "0" * 64))
    inside = read_inside(medium, view(medium))

    assert (LOCK, "its lock is not the one that its label names") == (inside.lock, inside.trouble)


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        ([], "there is no /usr/share/envbuild/envbuild.lock in it"),
        (b"version = 99\n", "its lock cannot be used: this lock has format 99; this envbuild reads up to 1"),
        (b"nonsense", "its lock cannot be used: "),
    ],
)
def test_a_lock_that_cannot_be_used(studio: Studio, content: Any, trouble: str) -> None:
    glue = [file("usr/share/envbuild/envbuild.lock", content)] if content else []
    medium = as_medium(studio.store, studio.image(glue=glue))
    inside = read_inside(medium, view(medium))

    assert inside.lock is None
    assert inside.trouble is not None
    assert inside.trouble.startswith(trouble)


def test_a_layer_with_the_lock_that_unpacks_without_end(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envbuild.inspection.inside._LARGEST_TAR", 1 << 20)
    medium = as_medium(studio.store, studio.image(glue=[file("a", bytes(2 << 20))]))

    with pytest.raises(EnvbuildError, match="unpacks to too much"):
        read_inside(medium, view(medium))


def test_kernelspecs_that_make_no_sense(studio: Studio) -> None:
    place = "srv/env/share/jupyter/kernels"
    glue = [
        file(f"{place}/a/kernel.json", b"{"),
        file(f"{place}/b/kernel.json", b'{"display_name": 5}'),
        file(f"{place}/c/logo.png", b""),
    ]
    medium = as_medium(studio.store, studio.image(glue=glue))

    assert [("a", "", ""), ("b", "5", "")] == [
        (kernel.name, kernel.display_name, kernel.language)
        for kernel in read_inside(medium, view(medium)).kernels
    ]


def test_names_in_layouts_may_have_colons(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()

    assert (str(tmp_path / "a:b"), "demo:1") == split_name(f"{tmp_path}/a:b:demo:1")
    assert (str(tmp_path / "a:b"), None) == split_name(f"{tmp_path}/a:b")


def test_the_uncompressed_image_is_the_same(studio: Studio) -> None:
    """Guards the tests: what an archive has."""
    image = studio.image()
    assert image.image_id == uncompressed(image, studio.store).image_id
