"""Layouts that are there already, and layouts that several write at once."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from envbuild.image.output import Output, write_output
from envbuild.pack.tar import file
from envbuild.store import Store
from tests.support.images import make_image


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


def test_a_damaged_blob_of_a_layout_is_written_anew(store: Store, tmp_path: Path) -> None:
    """Its size is right; what is added to a layout must not rely on it."""
    image = make_image(store, [[file("a", b"content")]])
    output = Output("oci", tmp_path / "out")
    write_output([image], store, output, ["demo:1"])
    blob = tmp_path / "out" / "blobs" / "sha256" / image.layers[0].digest.removeprefix("sha256:")
    content = blob.read_bytes()
    blob.write_bytes(bytes(len(content)))

    write_output([image], store, output, ["demo:2"])

    assert content == blob.read_bytes()


def test_layouts_written_at_the_same_time_have_all_names(store: Store, tmp_path: Path) -> None:
    """Eight builds into one new directory: each name, each blob whole, nothing left over."""
    images = [make_image(store, [[file("a", b"common")], [file("b", bytes([n]))]]) for n in range(8)]
    output = Output("oci", tmp_path / "out")

    def write(number: int) -> None:
        write_output([images[number]], store, output, [f"demo:{number}"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))

    entries = json.loads((tmp_path / "out" / "index.json").read_bytes())["manifests"]
    names = {entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in entries}
    assert {f"demo:{n}": image.manifest.digest for n, image in enumerate(images)} == names
    blobs = list((tmp_path / "out" / "blobs" / "sha256").iterdir())
    assert [hashlib.sha256(blob.read_bytes()).hexdigest() for blob in blobs] == [blob.name for blob in blobs]
    assert ["cache", "out"] == sorted(path.name for path in tmp_path.iterdir())
