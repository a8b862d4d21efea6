"""Configs of images that others made, and what becomes of them in ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from envbuild.image.base_config import parse_config
from envbuild.image.config import canonical, image_config, image_manifest
from envbuild.image.model import Layer
from tests.support.base_images import REFERENCE, lock_on_image, platform_image
from tests.support.locks import PLATFORM, small_lock

DIFF_IDS = [layer.diff_id for layer in platform_image().layers]


def config(**changes: Any) -> bytes:
    values = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/opt/bin:/usr/bin", "EMPTY=", "BROKEN"], "Volumes": {"/data": {}}},
        "history": [
            {"created": "2026-01-01T00:00:00Z", "created_by": "ADD rootfs.tar"},
            {"created_by": "ENV A=b", "empty_layer": True},
            {"created_by": "RUN install", "comment": "buildkit"},
        ],
        "rootfs": {"type": "layers", "diff_ids": DIFF_IDS},
    }
    return json.dumps({**values, **changes}).encode()


def made(below: bytes, top: str = "sha256:" + "e" * 64) -> dict[str, Any]:
    """The config of an image of one layer on an image with the config ``below``."""
    parts = [Layer(REFERENCE, digest, digest, 1, 1, "gzip", foreign=True) for digest in DIFF_IDS]
    layers = [*parts, Layer("packages", top, top, 1, 1, "zstd", ("six==1.0",))]
    return image_config(
        lock_on_image(),
        platform=PLATFORM,
        env="env-1",
        lock_digest="sha256:1",
        layers=layers,
        below=parse_config(below),
    )


def test_what_counts_is_read() -> None:
    found = parse_config(config(variant="v8"))

    assert ("linux/amd64", tuple(DIFF_IDS)) == (found.platform, found.diff_ids)
    assert {"PATH": "/opt/bin:/usr/bin", "EMPTY": ""} == found.variables
    assert {"variant": "v8"} == found.requirements


@pytest.mark.parametrize(
    "data",
    [
        b"no json",
        b"[" * 100_000,
        b"[]",
        config(os=1),
        config(architecture=""),
        config(rootfs=None),
        config(rootfs={"diff_ids": ["md5:1"]}),
        config(rootfs={"diff_ids": 5}),
    ],
    ids=["text", "too deep", "list", "number", "empty", "no layers", "other digest", "no list"],
)
def test_what_is_no_config_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_config(data)


def test_history_goes_on_where_the_bases_ends() -> None:
    """With the entries that made no layer: tools count them."""
    history = made(config())["history"]

    assert ["ADD rootfs.tar", "ENV A=b", "RUN install", "packages: six==1.0"] == [
        entry["created_by"] for entry in history
    ]
    assert [False, True, False, False] == [entry.get("empty_layer", False) for entry in history]
    assert "2026-01-01T00:00:00Z" == history[0]["created"]


@pytest.mark.parametrize("history", [None, [], [{"created_by": "one"}], "text", [1, 2], [{}] * 5])
def test_history_has_an_entry_for_each_layer_even_if_the_bases_has_not(history: Any) -> None:
    layers = [entry for entry in made(config(history=history))["history"] if not entry.get("empty_layer")]

    assert 3 == len(layers)
    assert REFERENCE == layers[0]["created_by"]


def test_half_a_character_in_a_bases_history_is_not_written() -> None:
    below = config(history=[{"created_by": "a\ud800"}, {"created_by": "b"}])

    assert {"created_by": "b"} == made(below)["history"][1]
    assert canonical(made(below))


def test_the_bases_variables_stay_below_ours() -> None:
    variables = dict(entry.split("=", 1) for entry in made(config())["config"]["Env"])

    assert "/srv/env/bin:/srv/jupyter/bin:/usr/local/bin:/usr/bin:/bin" == variables["PATH"]
    assert ("/home/jovyan", "/bin/bash") == (variables["HOME"], variables["SHELL"])


def test_what_else_the_base_wants_of_a_container_is_not_taken_over() -> None:
    inner = made(config())["config"]

    assert "Volumes" not in inner
    assert ["/usr/local/bin/envbuild-init", "-g", "--"] == inner["Entrypoint"][:3]


def test_what_the_base_needs_of_a_machine_stays() -> None:
    assert "v8" == made(config(variant="v8"))["variant"]


def test_the_manifest_names_the_base() -> None:
    """As OCI's annotations: what could be rebased, and scanners ask for."""
    content = made(config())
    manifest = image_manifest(content, [], config_digest="sha256:0", config_size=1)

    assert REFERENCE == manifest["annotations"]["org.opencontainers.image.base.name"]
    assert platform_image().digest == manifest["annotations"]["org.opencontainers.image.base.digest"]


def test_layers_of_the_base_have_ocis_media_types_and_say_whose_they_are() -> None:
    """Some registries refuse Docker's types in OCI's manifests."""
    layer = Layer(REFERENCE, DIFF_IDS[0], DIFF_IDS[0], 1, 1, "gzip", foreign=True)
    (descriptor,) = image_manifest(made(config()), [layer], config_digest="", config_size=1)["layers"]

    assert "application/vnd.oci.image.layer.v1.tar+gzip" == descriptor["mediaType"]
    assert "true" == descriptor["annotations"]["dev.envbuild.layer.foreign"]


def test_images_on_recipes_are_as_they_were() -> None:
    content = image_config(small_lock(), platform=PLATFORM, env="", lock_digest="", layers=[])

    assert "/usr/bin/tini" == content["config"]["Entrypoint"][0]
    assert not [label for label in content["config"]["Labels"] if ".base." in label]
