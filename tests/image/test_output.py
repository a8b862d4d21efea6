"""What leaves the store: OCI layouts and archives, read back by independent code."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envbuild.errors import MachineError, UsageError
from envbuild.image.archive import write_archive
from envbuild.image.blobs import layer_chunks, uncompressed
from envbuild.image.config import canonical, image_config, image_manifest
from envbuild.image.layout import write_layout
from envbuild.image.model import Image, Layer
from envbuild.lock.model import Lock
from envbuild.pack.blob import pack_entries
from envbuild.pack.tar import complete, file
from envbuild.spec.variables import variable_trouble
from envbuild.store import Store
from tests.test_plan import conda as conda_package
from tests.test_plan import conda_lock, lock, wheel


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


def make_image(store: Store, compression: str = "zstd", platform: str = "linux/amd64") -> Image:
    """An image of two tiny layers."""
    layers = []
    for name in ("one", "two"):
        packed = pack_entries(store, complete([file(f"srv/{name}", name.encode() * 1000)]), compression)
        layers.append(
            Layer(
                name,
                packed.diff_id,
                packed.digest,
                packed.size,
                packed.raw_size,
                compression,
                (f"{name}==1",),
            )
        )
    config = image_config(
        lock((wheel("a"),)), platform=platform, env="env-0", lock_digest="sha256:0", layers=layers
    )
    blob = store.put_blob(canonical(config))
    manifest = image_manifest(config, layers, config_digest=blob.digest, config_size=blob.size)
    return Image(platform, blob, store.put_blob(canonical(manifest)), tuple(layers))


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def read(layout: Path, descriptor: dict[str, object]) -> bytes:
    """The blob a descriptor names, held to its digest and size."""
    data = (layout / "blobs" / "sha256" / str(descriptor["digest"]).removeprefix("sha256:")).read_bytes()
    assert (digest(data), len(data)) == (descriptor["digest"], descriptor["size"])
    return data


def test_a_layout_holds_the_whole_image(store: Store, tmp_path: Path) -> None:
    image = make_image(store)

    write_layout([image], store, tmp_path / "out", ["name:tag"])

    index = json.loads((tmp_path / "out" / "index.json").read_bytes())
    (descriptor,) = index["manifests"]
    assert descriptor["annotations"] == {"org.opencontainers.image.ref.name": "name:tag"}
    manifest = json.loads(read(tmp_path / "out", descriptor))
    config = json.loads(read(tmp_path / "out", manifest["config"]))
    assert config["rootfs"]["diff_ids"] == [layer.diff_id for layer in image.layers]
    assert len(config["history"]) == len(manifest["layers"]) == 2
    for layer in manifest["layers"]:
        read(tmp_path / "out", layer)


def test_a_layout_of_two_platforms_has_an_index(store: Store, tmp_path: Path) -> None:
    images = [make_image(store, platform=platform) for platform in ("linux/arm64", "linux/amd64")]

    write_layout(images, store, tmp_path / "out")

    (descriptor,) = json.loads((tmp_path / "out" / "index.json").read_bytes())["manifests"]
    index = json.loads(read(tmp_path / "out", descriptor))
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "arm64"]


def test_a_layout_can_be_added_to_and_a_name_moves(store: Store, tmp_path: Path) -> None:
    first, second = make_image(store), make_image(store, "gzip")

    write_layout([first], store, tmp_path / "out", ["latest"])
    write_layout([second], store, tmp_path / "out", ["latest", "gz"])

    entries = json.loads((tmp_path / "out" / "index.json").read_bytes())["manifests"]
    assert [
        (entry["annotations"]["org.opencontainers.image.ref.name"], entry["digest"]) for entry in entries
    ] == [
        ("gz", second.manifest.digest),
        ("latest", second.manifest.digest),
    ]


def test_a_directory_with_other_things_is_left_alone(store: Store, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")

    with pytest.raises(UsageError, match="not empty"):
        write_layout([make_image(store)], store, tmp_path / "out")

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]


def test_a_damaged_blob_is_named_removed_and_nothing_is_left(store: Store, tmp_path: Path) -> None:
    image = make_image(store)
    blob = store.blob_path(image.layers[0].digest)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(bytes(data))

    with pytest.raises(MachineError, match=image.layers[0].digest):
        write_layout([image], store, tmp_path / "out")

    assert not blob.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_an_archive_is_a_layout_and_a_docker_archive(store: Store, compression: str) -> None:
    """zstd layers go in uncompressed for Docker before 23; the image ID stays."""
    image = make_image(store, compression)
    sink = io.BytesIO()

    write_archive(image, store, sink, ["name:tag"])

    sink.seek(0)
    with tarfile.open(fileobj=sink) as archive:
        files = {
            member.name: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive
            if member.isreg()
        }
    (docker,) = json.loads(files["manifest.json"])
    assert docker["RepoTags"] == ["name:tag"]
    assert digest(files[docker["Config"]]) == image.image_id
    config = json.loads(files[docker["Config"]])
    for place, diff_id in zip(docker["Layers"], config["rootfs"]["diff_ids"], strict=True):
        assert digest(files[place]) == "sha256:" + place.rpartition("/")[2]
        if compression == "zstd":
            assert digest(files[place]) == diff_id
    (descriptor,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(files["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")])
    assert manifest["config"]["digest"] == image.image_id


def test_archives_are_reproducible(store: Store) -> None:
    image = make_image(store)
    first, second = io.BytesIO(), io.BytesIO()
    write_archive(image, store, first, ["b:1", "a:1"])
    write_archive(image, store, second, ["a:1", "b:1"])

    assert first.getvalue() == second.getvalue()


def test_the_image_id_does_not_depend_on_compression(store: Store) -> None:
    images = [make_image(store, compression) for compression in ("zstd", "gzip", "none")]

    assert len({image.image_id for image in images}) == 1
    assert len({image.manifest.digest for image in images}) == 3


@pytest.mark.parametrize("config", [{}, {"config": None}, {"config": []}, {"config": {"Labels": None}}])
def test_a_config_of_others_needs_no_labels(config: dict[str, Any]) -> None:
    assert {} == image_manifest(config, [], config_digest="sha256:0", config_size=1)["annotations"]


def test_uncompressed_layers_are_the_diff_ids(store: Store) -> None:
    image = make_image(store)
    plain = uncompressed(image, store)

    assert plain.image_id == image.image_id
    for stored, layer in zip(image.layers, plain.layers, strict=True):
        data = b"".join(layer_chunks(store, stored))
        assert (digest(data), len(data)) == (layer.digest, layer.size)


def test_the_hub_contract_is_in_the_config(store: Store) -> None:
    image = make_image(store)
    config = json.loads(store.blob_path(image.config.digest).read_bytes())["config"]
    environment = dict(item.split("=", 1) for item in config["Env"])

    assert config["User"] == "1000:100"
    assert config["WorkingDir"] == environment["REPO_DIR"] == "/srv/repo"
    assert config["ExposedPorts"] == {"8888/tcp": {}}
    assert environment["PATH"].split(":")[:2] == ["/srv/env/bin", "/srv/jupyter/bin"]
    assert environment["HOME"] == "/home/jovyan"
    assert config["Env"] == sorted(config["Env"])


def test_variables_of_the_repository_are_set_and_what_the_image_needs_cannot_be_replaced() -> None:
    plain = lock((wheel("a"),))

    def variables(of: Lock) -> dict[str, str]:
        config = image_config(of, platform="linux/amd64", env="env-0", lock_digest="sha256:0", layers=())
        return dict(entry.split("=", 1) for entry in config["config"]["Env"])

    own = variables(plain)
    assert own | {"DEBUG": "a=b", "ZONE": ""} == variables(
        replace(plain, variables=(("DEBUG", "a=b"), ("ZONE", "")))
    )
    with_conda = variables(conda_lock((conda_package("python"),)))
    assert {"PYTHONHASHSEED", "PYTHONNOUSERSITE"} == {
        name for name in own | with_conda if not variable_trouble(name, "x")
    }
    assert "7" == variables(replace(plain, variables=(("PYTHONHASHSEED", "7"),)))["PYTHONHASHSEED"]
