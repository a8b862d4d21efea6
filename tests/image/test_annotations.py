"""What a manifest says about layers: written, read back, and not believed when it makes no sense."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.image.annotations import described_layer, layer_descriptor
from envbuild.image.descriptor import Descriptor
from envbuild.image.model import Layer

KEY = "a" * 64
LAYER = Layer("numpy", "sha256:" + "b" * 64, "sha256:" + "c" * 64, 10, 20, "zstd", ("numpy==2.0",), key=KEY)


def descriptor(**annotations: str) -> Descriptor:
    """The descriptor of LAYER with some annotations changed; ``raw_size`` is ``...raw-size``."""
    made = layer_descriptor(LAYER)
    changed = {f"dev.envbuild.layer.{name.replace('_', '-')}": value for name, value in annotations.items()}
    return replace(made, annotations=tuple({**dict(made.annotations), **changed}.items()))


def test_the_exact_descriptor() -> None:
    """Part of every manifest's digest: a change needs a new recipe version."""
    assert {
        "annotations": {
            "dev.envbuild.layer.key": KEY,
            "dev.envbuild.layer.diff-id": "sha256:" + "b" * 64,
            "dev.envbuild.layer.raw-size": "20",
        },
        "digest": "sha256:" + "c" * 64,
        "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd",
        "size": 10,
    } == layer_descriptor(LAYER).to_json()


def test_where_a_layer_was_found_is_not_in_its_descriptor() -> None:
    found = replace(LAYER, found="registry", place="registry.example.org/team/envs")

    assert layer_descriptor(LAYER) == layer_descriptor(found)


@pytest.mark.parametrize(
    "layer",
    [
        LAYER,
        replace(LAYER, captured=True),
        replace(LAYER, compression="gzip", notes=("“graphviz” has a script", "b")),
    ],
)
def test_what_is_written_is_read(layer: Layer) -> None:
    assert replace(layer, title="", packages=()) == described_layer(layer_descriptor(layer))


def test_a_layer_without_a_key_or_a_known_size_says_neither() -> None:
    """The repository's files; layers of somebody else's image."""
    made = layer_descriptor(replace(LAYER, key="", raw_size=0))

    assert ["dev.envbuild.layer.diff-id"] == [name for name, _ in made.annotations]
    assert replace(LAYER, title="", packages=(), key="", raw_size=0) == described_layer(made)


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": "A" * 64},
        {"key": KEY + "\n"},
        {"key": "../" + KEY},
        {"diff_id": "sha512:" + "b" * 64},
        {"diff_id": "b" * 64},
        {"diff_id": ""},
        {"raw_size": "0"},
        {"raw_size": "-1"},
        {"raw_size": "1e3"},
        {"raw_size": "٣"},
        {"raw_size": "1099511627777"},
        {"raw_size": "9" * 5000},
        {"captured": "yes"},
        {"notes": "[1]"},
        {"notes": '{"a": 1}'},
        {"notes": "[]"},
        {"notes": "[" * 100_000},
        {"notes": '["' + "x" * 1001 + '"]'},
    ],
    ids=lambda wrong: str(wrong)[:40],
)
def test_annotations_that_make_no_sense_are_not_believed(wrong: dict[str, str]) -> None:
    assert described_layer(descriptor(**wrong)) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"size": 0},
        {"size": 1 << 41},
        {"media_type": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"},
        {"annotations": ()},
    ],
    ids=str,
)
def test_descriptors_that_make_no_sense_are_not_believed(changed: dict[str, Any]) -> None:
    assert described_layer(replace(layer_descriptor(LAYER), **changed)) is None


@given(st.sampled_from(["key", "diff-id", "raw-size", "captured", "notes"]), st.text())
def test_no_annotation_breaks_reading(name: str, value: str) -> None:
    """Whatever a registry sends is a layer or none."""
    described = described_layer(descriptor(**{name.replace("-", "_"): value}))

    assert described is None or described.digest == LAYER.digest
