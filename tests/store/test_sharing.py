"""What images share, and what goes with one of them."""

from __future__ import annotations

import json

import pytest

from envbuild.engine.trees import unpack
from envbuild.image.model import Image
from envbuild.pack.tar import file
from envbuild.progress import Silent
from envbuild.store import Blob, Store
from envbuild.store.images import record_image, stored_images
from envbuild.store.prune import in_use
from envbuild.store.sharing import remove_images, shares
from tests.support.images import make_image


@pytest.fixture
def images(store: Store) -> tuple[Image, Image]:
    """Two named images with one layer in common."""
    one = make_image(store, [[file("base", bytes(5000))], [file("one", b"1")]])
    two = make_image(store, [[file("base", bytes(5000))], [file("two", b"2")]])
    record_image(store, "one:latest", one.platform, one.manifest)
    record_image(store, "two:latest", two.platform, two.manifest)
    return one, two


def _size(image: Image) -> int:
    return image.config.size + image.manifest.size + sum(layer.size for layer in image.layers)


def test_shared_and_unique_are_all_there_is(store: Store, images: tuple[Image, Image]) -> None:
    base = images[0].layers[0].size

    expected = [(_size(image), base, _size(image) - base) for image in images]

    assert expected == [(share.size, share.shared, share.unique) for share in shares(store)]


def test_unique_is_what_removing_gives_back(store: Store, images: tuple[Image, Image]) -> None:
    unique = shares(store)[0].unique

    assert unique == remove_images(store, stored_images(store)[:1]).size


def test_a_second_name_shares_everything(store: Store, images: tuple[Image, Image]) -> None:
    record_image(store, "one:again", images[0].platform, images[0].manifest)

    assert [0, 0] == [share.unique for share in shares(store) if share.image.name.startswith("one")]
    assert (
        0 == remove_images(store, [image for image in stored_images(store) if "again" in image.name]).entries
    )


def test_layers_that_are_only_in_a_registry_give_nothing_back(
    store: Store, images: tuple[Image, Image]
) -> None:
    own = images[0].layers[1]
    store.blob_path(own.digest).unlink()
    share = shares(store)[0]

    assert share.size == share.shared + share.unique + own.size


def test_what_others_need_stays(store: Store, images: tuple[Image, Image]) -> None:
    one, two = images
    trees = {image.image_id: unpack(image, store, Silent()) for image in images}

    removed = remove_images(store, stored_images(store)[:1])

    assert (("one:latest",), ["two:latest"]) == (
        removed.forgotten,
        [image.name for image in stored_images(store)],
    )
    assert [False, True] == [tree[0].exists() for tree in trees.values()]
    assert all(store.has_blob(layer.digest, layer.size) for layer in two.layers)
    assert not any(
        store.has_blob(blob.digest, blob.size) for blob in (one.layers[1], one.config, one.manifest)
    )


def test_a_dry_run_tells_the_same(store: Store, images: tuple[Image, Image]) -> None:
    chosen = stored_images(store)[:1]
    told = remove_images(store, chosen, dry_run=True)

    assert 2 == len(stored_images(store))
    assert told == remove_images(store, chosen)


def test_while_others_work_only_names_go(store: Store, images: tuple[Image, Image]) -> None:
    with in_use(store):
        removed = remove_images(store, stored_images(store)[:1])

    assert (True, 0, 1) == (removed.busy, removed.entries, len(stored_images(store)))
    assert store.has_blob(images[0].manifest.digest, images[0].manifest.size)


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"rootfs": 3}'])
def test_a_damaged_config_does_not_cost_the_layers(store: Store, damage: bytes) -> None:
    """The manifest still says what the image needs."""
    layer = store.put_blob(b"layer")
    config = store.put_blob(b'{"rootfs": {"diff_ids": []}}')
    content = {
        "config": {"digest": config.digest, "size": config.size},
        "layers": [{"digest": layer.digest, "size": layer.size}],
    }
    manifest: Blob = store.put_blob(json.dumps(content).encode())
    record_image(store, "demo:1", "linux/amd64", manifest)
    store.blob_path(config.digest).write_bytes(damage)

    (share,) = shares(store)

    assert (config.digest, layer.size + config.size + manifest.size) == (share.image_id, share.size)
