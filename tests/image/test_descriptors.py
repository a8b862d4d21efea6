"""What a manifest says about layers: written, read back, and not believed when it makes no sense."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.image.descriptors import described_layer, layer_descriptor
from envbuild.image.model import Layer

KEY = "a" * 64
LAYER = Layer("numpy", "sha256:" + "b" * 64, "sha256:" + "c" * 64, 10, 20, "zstd", ("numpy==2.0",), key=KEY)


def descriptor(**annotations: str) -> dict[str, Any]:
    """The descriptor of LAYER with some annotations changed; ``raw_size`` is ``...raw-size``."""
    made = layer_descriptor(LAYER)
    made["annotations"] |= {
        f"dev.envbuild.layer.{name.replace('_', '-')}": value for name, value in annotations.items()
    }
    return made


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
    } == layer_descriptor(LAYER)


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

    assert {"dev.envbuild.layer.diff-id"} == made["annotations"].keys()
    assert described_layer(made) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": ""},
        {"key": "A" * 64},
        {"key": KEY + "\n"},
        {"key": "../" + KEY},
        {"diff_id": "sha512:" + "b" * 64},
        {"diff_id": "b" * 64},
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
        {"digest": "sha256:../../../etc/passwd"},
        {"digest": 5},
        {"size": "10"},
        {"size": True},
        {"size": -1},
        {"size": 1 << 41},
        {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"},
        {"annotations": None},
        {"annotations": ["dev.envbuild.layer.key"]},
        {"annotations": {"dev.envbuild.layer.key": 3}},
    ],
    ids=str,
)
def test_descriptors_that_make_no_sense_are_not_believed(changed: dict[str, Any]) -> None:
    assert described_layer({**descriptor(), **changed}) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.sampled_from(["digest", "size", "mediaType", "annotations", "key", "notes"]), JSON)
def test_no_json_breaks_reading(whole: Any, name: str, value: Any) -> None:
    """Whatever a registry sends is a layer or none."""
    made = descriptor()
    if name in made:
        made[name] = value
    else:
        made["annotations"][f"dev.envbuild.layer.{name}"] = value
    for candidate in (whole, made):
        described = described_layer(candidate)
        assert described is None or described.digest.startswith("sha256:")
