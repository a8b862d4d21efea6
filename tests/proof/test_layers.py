"""What two images share, and what travels from one to the other."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.inspection.view import LayerView
from envbuild.layers import RegistryLayer
from envbuild.lock.model import ImageLayer
from envbuild.proof.layers import (
    LayerChange,
    LayerFact,
    keyed_layers,
    layer_difference,
    planned_layers,
)


def _layer(title: str, version: int, size: int = 10, compression: str = "zstd") -> LayerFact:
    identity = hashlib.sha256(f"{title} {version}".encode()).hexdigest()
    return LayerFact(identity, title, (f"{title}=={version}",), f"{compression}:{identity}", size)


# The size follows from the content, as it does in reality.
layers = st.builds(
    lambda title, version, compression: _layer(title, version, 1 + ord(title) * version, compression),
    title=st.sampled_from("abcd"),
    version=st.integers(1, 2),
    compression=st.sampled_from(["zstd", "gzip"]),
)
images = st.lists(layers, max_size=6)


def _size(image: list[LayerFact]) -> int:
    return sum({fact.digest: fact.size or 0 for fact in image}.values())


@settings(max_examples=60)
@given(images)
def test_an_image_does_not_differ_from_itself(image: list[LayerFact]) -> None:
    found = layer_difference(image, image)

    assert ((), False, 0, 0) == (found.changed, found.moved, found.pull, found.pull_above)
    assert tuple(image) == found.shared


@settings(max_examples=60)
@given(images, images)
def test_bytes_to_pull_are_those_that_are_not_there(one: list[LayerFact], two: list[LayerFact]) -> None:
    found = layer_difference(one, two)
    had = {fact.digest for fact in one}

    assert found.pull is not None
    assert found.pull_above is not None
    assert 0 <= found.pull <= found.pull_above <= _size(two)
    assert _size(two) == found.pull + _size([fact for fact in two if fact.digest in had])


@settings(max_examples=60)
@given(images, images)
def test_every_layer_is_shared_or_changed(one: list[LayerFact], two: list[LayerFact]) -> None:
    found = layer_difference(one, two)

    added = [change.after for change in found.changed if change.after]
    assert sorted(two, key=repr) == sorted([*found.shared, *added], key=repr)
    gone = [change.before for change in found.changed if change.before]
    kept = {fact.identity for fact in found.shared}
    assert sorted(one, key=repr) == sorted(
        [*gone, *(fact for fact in one if fact.identity in kept)], key=repr
    )


@settings(max_examples=60)
@given(images, images)
def test_the_way_back_has_the_same_changes_turned_round(one: list[LayerFact], two: list[LayerFact]) -> None:
    there, back = layer_difference(one, two), layer_difference(two, one)

    turned = [LayerChange(change.after, change.before) for change in there.changed]
    assert sorted(turned, key=repr) == sorted(back.changed, key=repr)
    assert {fact.identity for fact in there.shared} == {fact.identity for fact in back.shared}


def test_a_bump_in_the_middle() -> None:
    """One layer is replaced: its bytes are new, and Docker's classic store fetches what is above it, too."""
    before = [_layer("base", 1, 100), _layer("numpy", 1, 20), _layer("glue", 1, 1)]
    after = [_layer("base", 1, 100), _layer("numpy", 2, 22), _layer("glue", 1, 1)]

    found = layer_difference(before, after)

    assert (LayerChange(before[1], after[1]),) == found.changed
    assert (22, 23) == (found.pull, found.pull_above)


def test_the_same_files_in_another_compression_are_shared_and_travel() -> None:
    before, after = [_layer("base", 1, 100)], [_layer("base", 1, 90, "gzip")]

    found = layer_difference(before, after)

    assert (tuple(after), (), 90, 90) == (found.shared, found.changed, found.pull, found.pull_above)


def test_layers_that_changed_places() -> None:
    before = [_layer("a", 1), _layer("b", 1), _layer("c", 1)]
    after = [before[0], before[2], before[1]]

    found = layer_difference(before, after)

    assert (True, (), 0, 20) == (found.moved, found.changed, found.pull, found.pull_above)


def test_planned_layers_have_no_bytes() -> None:
    before, after = [LayerFact("a", "base")], [LayerFact("b", "base")]

    found = layer_difference(before, after)

    assert (None, None) == (found.pull, found.pull_above)
    assert (LayerChange(before[0], after[0]),) == found.changed


def test_titles_that_are_not_unique_pair_nothing() -> None:
    """Layers of somebody else's image: `RUN pip install` twice says nothing about which became which."""
    before = [LayerFact("1", "RUN", (), "1", 1), LayerFact("2", "RUN", (), "2", 1)]
    after = [LayerFact("3", "RUN", (), "3", 1)]

    assert [(before[0], None), (before[1], None), (None, after[0])] == [
        (change.before, change.after) for change in layer_difference(before, after).changed
    ]


def test_layers_of_a_base_in_a_registry_are_told_apart_by_their_digests() -> None:
    """They have no key of ours: a plan and an image that is made of it agree about them."""
    digest, diff_id = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    planned = planned_layers([RegistryLayer(ImageLayer(digest, "gzip", 5, diff_id, 9), "base, layer 1")])
    seen = keyed_layers([LayerView(digest, diff_id, 5, "gzip", "gzip", "ADD rootfs.tar", foreign=True)])

    found = layer_difference(planned, seen)

    assert (1, (), False) == (len(found.shared), found.changed, found.moved)
