"""Names of images: a record each, and the index that other tools read."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

from envbuild.store import Store
from envbuild.store.images import forget_images, record_image, stored_images


def _name(root: Path, number: int) -> None:
    store = Store(root)
    for _ in range(10):
        record_image(store, f"demo:{number}", "linux/amd64", store.put_blob(b"{}"))


def test_processes_that_name_images_at_once_lose_none(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_name, args=(store.root, number)) for number in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [f"demo:{number}" for number in range(6)] == [image.name for image in stored_images(store)]
    index = json.loads((store.layout / "index.json").read_bytes())
    assert len(index["manifests"]) == 6


def test_one_damaged_name_costs_no_other(store: Store, warnings: list[str]) -> None:
    for name in ("one:1", "two:2"):
        record_image(store, name, "linux/amd64", store.put_blob(b"{}"))
    sorted(store.images.iterdir())[0].write_bytes(b"half")

    assert (1, 1) == (len(stored_images(store)), len(warnings))
    assert "images-v1/" in warnings[0]


def test_the_index_is_written_from_the_names(store: Store) -> None:
    """It can be lost at any time; whoever reads it is another tool."""
    (store.layout / "index.json").write_bytes(b"half")
    manifest = store.put_blob(b"{}")
    record_image(store, "demo:1", "linux/arm64", manifest)

    (entry,) = json.loads((store.layout / "index.json").read_bytes())["manifests"]

    assert (manifest.digest, {"architecture": "arm64", "os": "linux"}, "demo:1") == (
        entry["digest"],
        entry["platform"],
        entry["annotations"]["org.opencontainers.image.ref.name"],
    )
    forget_images(store, stored_images(store))
    assert [] == json.loads((store.layout / "index.json").read_bytes())["manifests"]


def test_the_same_name_for_two_platforms(store: Store) -> None:
    for platform in ("linux/amd64", "linux/arm64", "linux/amd64"):
        record_image(store, "demo:1", platform, store.put_blob(platform.encode()))

    assert ["linux/amd64", "linux/arm64"] == [image.platform for image in stored_images(store)]
