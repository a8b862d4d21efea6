"""Which layer stands where which one should."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.image.model import Layer
from envbuild.inspection.view import LayerView
from envbuild.proof.matching import match


def made(text: str) -> Layer:
    """``numpy1`` is a layer with the title ``numpy``."""
    diff_id = hashlib.sha256(text.encode()).hexdigest()
    return Layer(text.rstrip("0123456789"), diff_id, f"zstd {diff_id}", 1, 1, "zstd")


def found(text: str) -> LayerView:
    """The same in an image; ``numpy1!`` is compressed otherwise."""
    layer = made(text.rstrip("!"))
    digest = layer.digest + ("!" if text.endswith("!") else "")
    return LayerView(digest, layer.diff_id, 1, "", "zstd", layer.title)


def pairs(expected: str, image: str) -> list[str]:
    """``numpy1=numpy2``, with ``~`` when it was moved."""
    names = {made(text): text for text in expected.split()}
    views = {found(text): text for text in image.split()}
    return [
        f"{names[pair.made] if pair.made else '-'}{'~' if pair.moved else '='}"
        f"{views[pair.found] if pair.found else '-'}"
        for pair in match([made(text) for text in expected.split()], [found(text) for text in image.split()])
    ]


@pytest.mark.parametrize(
    ("expected", "image", "paired"),
    [
        ("a1 b1 c1", "a1 b1 c1", "a1=a1 b1=b1 c1=c1"),
        ("a1 b1 c1", "a1 b1! c1", "a1=a1 b1=b1! c1=c1"),
        ("a1 b1 c1", "a1 b2 c1", "a1=a1 b1=b2 c1=c1"),
        ("a1 b1 c1", "a1 c1", "a1=a1 b1=- c1=c1"),
        ("a1 c1", "a1 b1 c1", "a1=a1 c1=c1 -=b1"),
        ("a1 b1 c1", "b1 c1 a1", "a1~a1 b1=b1 c1=c1"),
        ("a1 b1 c1", "a1 x1 c1", "a1=a1 b1=x1 c1=c1"),
        ("a1 b1 c1", "a1 c2 b2", "a1=a1 b1=b2 c1~c2"),
        ("a1 b1", "x1", "a1=- b1=- -=x1"),
        ("", "x1", "-=x1"),
        ("a1", "", "a1=-"),
        ("a1 a1 b1", "a1 a1 b1", "a1=a1 a1=a1 b1=b1"),
    ],
)
def test_pairs(expected: str, image: str, paired: str) -> None:
    assert paired.split() == pairs(expected, image)


texts = st.lists(st.sampled_from(["a1", "a2", "b1", "b2", "c1"]), max_size=6)


@settings(max_examples=100)
@given(texts, texts)
def test_every_layer_is_there_once(one: list[str], two: list[str]) -> None:
    paired = match([made(text) for text in one], [found(text) for text in two])

    assert [made(text) for text in one] == [pair.made for pair in paired if pair.made]
    assert sorted(map(found, two), key=repr) == sorted(
        (pair.found for pair in paired if pair.found), key=repr
    )


@settings(max_examples=100)
@given(texts)
def test_an_image_matches_itself(one: list[str]) -> None:
    paired = match([made(text) for text in one], [found(text) for text in one])

    assert [(made(text), found(text), False) for text in one] == [
        (pair.made, pair.found, pair.moved) for pair in paired
    ]
