"""The shared cache: what one machine has made and published, another finds."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from envbuild.image.annotations import layer_descriptor
from envbuild.image.descriptor import Descriptor
from envbuild.image.finding import LayersLost
from envbuild.image.model import Image, Layer
from envbuild.image.reference import parse_reference
from envbuild.inspection.layout import CachedImage
from envbuild.registry import cache
from envbuild.registry.cache import layer_tag
from envbuild.store.images import StoredImage
from tests.registry.conftest import BUMPED, LOCK, NEW, NUMPY, PANDAS
from tests.support.builds import Machine
from tests.support.registry import FakeRegistry, faults

pytestmark = pytest.mark.slow  # whole builds

_GLUE = "environment, kernels and entry point"


def claim(registry: FakeRegistry, machine: Machine, layer: Layer, **annotations: str) -> None:
    """Let the registry have ``layer`` of ``machine`` under its key, with some annotations changed."""
    descriptor = layer_descriptor(layer).to_json()
    for name, text in annotations.items():
        descriptor["annotations"][f"dev.envbuild.layer.{name.replace('_', '-')}"] = text
    registry.put_blob("team/envs", machine.store.blob_path(layer.digest).read_bytes())
    nothing = registry.put_blob("team/envs", b"{}")
    manifest = {
        "artifactType": "application/vnd.envbuild.layer.v1",
        "config": {"digest": nothing, "mediaType": "application/vnd.oci.empty.v1+json", "size": 2},
        "layers": [descriptor],
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "schemaVersion": 2,
    }
    registry.put_manifest("team/envs", manifest, layer_tag(layer.key, "zstd"))


# What is found


def test_another_machine_gets_the_same_image_with_one_question_and_no_bytes(
    ci: Machine, laptop: Machine, registry: FakeRegistry, built: Image
) -> None:
    ci.publish(LOCK, built)
    registry.forget()

    found = laptop.build(LOCK)

    assert built.manifest == found.manifest
    assert ["repository"] == laptop.packed(found)
    assert {"registry"} == {layer.found for layer in found.layers[:-1]}
    assert ["ping", "get-manifest"] == [request.kind for request in registry.requests]
    assert [] == laptop.reporter.warnings


def test_of_a_bumped_environment_only_the_bump_is_packed_and_sent(
    ci: Machine, laptop: Machine, registry: FakeRegistry, built: Image
) -> None:
    """Nobody has that environment; a machine without anything puts it together from known layers."""
    ci.publish(LOCK, built)
    registry.forget()
    laptop.give(NEW)

    image = laptop.build(BUMPED)
    published = laptop.publish(BUMPED, image)

    assert ["pandas", _GLUE, "repository"] == laptop.packed(image)
    assert 0 == registry.count("get-blob")
    new = sum(layer.size for layer in image.layers if layer.title in ("pandas", _GLUE))
    sent = sum(map(registry.received, ("start-upload", "send-chunk", "finish-upload")))
    configs = sum(len(data) for data in registry.blobs.values() if data[:1] == b"{")
    assert new < sent < new + configs
    assert 2 == published.layers


def test_images_that_will_be_replaced_say_what_they_consist_of(
    ci: Machine, tmp_path: Path, registry: FakeRegistry, built: Image
) -> None:
    """Without a shared cache, the previous image under a name is one."""
    ci.push(built, "team/demo:latest")
    runner = Machine(tmp_path / "runner")
    runner.give(NEW)
    runner.layers.consult([parse_reference(f"{registry.address}/team/demo:latest")])

    image = runner.build(BUMPED)

    assert ["pandas", _GLUE, "repository"] == runner.packed(image)
    assert 0 == registry.count("get-blob")


def test_what_is_here_is_not_asked_for(ci: Machine, registry: FakeRegistry) -> None:
    ci.build(LOCK)

    assert [] == registry.requests


def test_a_registry_that_has_nothing_is_asked_once_for_each_layer(
    laptop: Machine, registry: FakeRegistry, built: Image
) -> None:
    keys = [layer.key for layer in built.layers if layer.key]

    assert [{}, {}] == [laptop.layers.find(keys) for _ in range(2)]

    assert len(keys) == registry.count("get-manifest")
    assert [] == laptop.reporter.warnings


def test_layers_in_another_compression_are_not_ours(
    ci: Machine, laptop: Machine, registry: FakeRegistry, built: Image
) -> None:
    """An image would get another digest."""
    claim(registry, ci, replace(built.layers[2], compression="gzip"))

    assert {} == laptop.layers.find([built.layers[2].key])


def test_notes_of_layers_travel(ci: Machine, laptop: Machine, registry: FakeRegistry, built: Image) -> None:
    hostile = json.dumps(["look out", "\x1b[31m https://me:secret@example.org"])
    claim(registry, ci, built.layers[2], notes=hostile)

    found = laptop.layers.find([built.layers[2].key])[built.layers[2].key]

    assert ("look out", "\\x1b[31m https://***@example.org") == found.packed.notes


def test_layers_know_who_vouches_for_them(ci: Machine, laptop: Machine, built: Image) -> None:
    ci.publish(LOCK, built)

    assert {laptop.shared.name} == {layer.place for layer in laptop.build(LOCK).layers if layer.key}


# Bytes


def test_layers_are_brought_when_they_are_needed(
    ci: Machine, laptop: Machine, registry: FakeRegistry, built: Image
) -> None:
    ci.publish(LOCK, built)
    image = laptop.build(LOCK)

    for _ in range(2):
        laptop.layers.bring(image.layers, laptop.reporter)

    assert all(laptop.store.has_blob(layer.digest, layer.size) for layer in image.layers)
    fetched = [request.reference for request in registry.asked("get-blob")]
    assert sorted(layer.digest for layer in image.layers[:-1]) == sorted(fetched)


def test_brought_layers_are_the_stores_while_who_vouches_for_them_is_trusted(
    ci: Machine, laptop: Machine, registry: FakeRegistry, built: Image
) -> None:
    """Also offline. Who turns the shared cache off gets none of its layers, though their bytes are here."""
    ci.publish(LOCK, built)
    laptop.build(LOCK, bring=True)
    keys = [layer.key for layer in built.layers if layer.key]
    registry.forget()

    offline = laptop.again(offline=True).layers.find(keys)
    distrusting = laptop.again(trusting=False).layers.find(keys)
    elsewhere = laptop.again(registry=None).layers.find(keys)

    assert {"store"} == {found.where for found in offline.values()}
    assert (set(keys), set(), set()) == (set(offline), set(distrusting), set(elsewhere))
    assert [] == registry.requests


def test_what_this_machine_has_made_itself_needs_nobodys_word(ci: Machine, built: Image) -> None:
    """Its bytes were pruned and came back from a registry; what they are was known all the time."""
    ci.publish(LOCK, built)
    for layer in built.layers:
        ci.store.blob_path(layer.digest).unlink()
    ci.again().build(LOCK, bring=True)

    keys = {layer.key for layer in built.layers if layer.key}
    assert keys == ci.again(trusting=False).layers.find(keys).keys()


def test_a_registry_that_contradicts_what_was_made_here_is_not_believed(
    ci: Machine, registry: FakeRegistry, built: Image
) -> None:
    layer = built.layers[2]
    claim(registry, ci, layer, diff_id="sha256:" + "0" * 64)
    ci.store.blob_path(layer.digest).unlink()

    assert {} == ci.layers.find([layer.key])


# Registries that do not do what they should


@pytest.mark.parametrize(
    "fault",
    [
        faults.status(500),
        faults.status(401, "UNAUTHORIZED"),
        faults.status(403, "DENIED"),
        faults.too_busy(60),
        faults.dropped(),
        faults.truncated(),
        faults.wrong_digest(),
        faults.endless(),
        faults.redirected("http://127.0.0.1:9/{path}"),
    ],
    ids=["500", "401", "403", "429", "dropped", "truncated", "wrong-digest", "endless", "redirected"],
)
def test_a_registry_in_trouble_costs_one_warning(
    ci: Machine, laptop: Machine, registry: FakeRegistry, built: Image, fault: Any
) -> None:
    """And is not asked again."""
    ci.publish(LOCK, built)
    registry.fail(fault, kind="get-manifest", times=None)

    registry.forget()
    assert {} == laptop.layers.find([layer.key for layer in built.layers[:2]])
    assert {} == laptop.layers.find([layer.key for layer in built.layers[2:4]])

    later = {layer_tag(layer.key, "zstd") for layer in built.layers[2:4]}
    assert set() == later & {request.reference for request in registry.requests}
    (warning,) = laptop.reporter.warnings
    assert warning.startswith("the shared cache is not used: ")


def test_a_registry_that_is_down_breaks_no_build(laptop: Machine, built: Image) -> None:
    machine = laptop.again(registry="127.0.0.1:9")
    machine.give_all(LOCK, NUMPY, PANDAS)

    assert built.manifest == machine.build(LOCK).manifest
    (warning,) = machine.reporter.warnings
    assert "127.0.0.1:9 cannot be reached: connection refused" in warning


def test_a_registry_that_takes_its_time_is_not_waited_for(
    laptop: Machine, registry: FakeRegistry, built: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LOOKUP_SECONDS", 0.05)
    registry.fail(faults.silent(60), kind="get-manifest", times=None)

    assert {} == laptop.layers.find([built.layers[0].key])
    (warning,) = laptop.reporter.warnings
    assert "registries have not said within 0 seconds what they have" in warning


@pytest.mark.parametrize(
    "annotations",
    [
        {"raw_size": "99999999999999"},
        {"raw_size": ""},
        {"diff_id": "sha256:../../x"},
        {"key": "f" * 64},
        {"notes": "[["},
    ],
    ids=str,
)
def test_claims_that_make_no_sense_are_passed_over(
    ci: Machine, laptop: Machine, registry: FakeRegistry, built: Image, annotations: dict[str, str]
) -> None:
    claim(registry, ci, built.layers[2], **annotations)

    assert {} == laptop.layers.find([built.layers[2].key])
    assert [] == laptop.reporter.warnings


@pytest.mark.parametrize("manifest", [b"", b"[]", b'{"layers": 5}', b'{"layers": [5, {"digest": "x"}]}'])
def test_manifests_that_make_no_sense_are_passed_over(
    laptop: Machine, registry: FakeRegistry, built: Image, manifest: bytes
) -> None:
    media_type = "application/vnd.oci.image.manifest.v1+json"
    registry.fail(faults.swapped(manifest, media_type), kind="get-manifest", times=None)

    assert {} == laptop.layers.find([built.layers[2].key])
    assert [] == laptop.reporter.warnings


@pytest.mark.parametrize(
    "fault",
    [faults.status(500), faults.absent(), faults.wrong_bytes(), faults.longer(), faults.shorter()],
    ids=["500", "absent", "wrong-bytes", "longer", "shorter"],
)
def test_layers_that_cannot_be_had_are_lost_and_found_no_more(
    ci: Machine, laptop: Machine, registry: FakeRegistry, built: Image, fault: Any
) -> None:
    """All but those that are here by then."""
    ci.publish(LOCK, built)
    image = laptop.build(LOCK)
    registry.fail(fault, kind="get-blob", times=None)
    claimed = image.layers[:3]

    with pytest.raises(LayersLost):
        laptop.layers.bring(claimed, laptop.reporter)

    assert {} == laptop.layers.find([layer.key for layer in claimed])
    (warning,) = laptop.reporter.warnings
    assert warning.startswith("the shared cache is not used: ")


def test_a_build_whose_registry_dies_midway_makes_the_rest_itself(
    ci: Machine, laptop: Machine, registry: FakeRegistry, built: Image
) -> None:
    ci.publish(LOCK, built)
    laptop.give_all(LOCK, NUMPY, PANDAS)
    registry.fail(faults.dropped(reset=True), kind="get-blob", nth=2, times=None)

    image = laptop.build(LOCK, bring=True)

    assert built.manifest == image.manifest
    assert all(laptop.store.has_blob(layer.digest, layer.size) for layer in image.layers)
    assert 1 == len(laptop.reporter.warnings)


@pytest.mark.parametrize("annotations", [{"diff_id": "sha256:" + "0" * 64}, {"raw_size": "512"}], ids=str)
def test_a_layer_that_is_another_than_was_said_is_made_here(
    ci: Machine, laptop: Machine, registry: FakeRegistry, built: Image, annotations: dict[str, str]
) -> None:
    """The blob is what its digest says; what it unfolds to is not what was said, or without end."""
    layer = built.layers[2]
    claim(registry, ci, layer, **annotations)
    laptop.give_all(LOCK, NUMPY, PANDAS)

    assert built.manifest == laptop.build(LOCK, bring=True).manifest
    (warning,) = laptop.reporter.warnings
    assert f"{layer.digest} is not the layer with the diff ID" in warning


def test_an_image_whose_layers_are_elsewhere_can_be_looked_at(
    ci: Machine, laptop: Machine, registry: FakeRegistry, built: Image
) -> None:
    """What is read is streamed from where it is; nothing of it is kept."""
    ci.publish(LOCK, built)
    image = laptop.build(LOCK)
    stored = StoredImage("demo:latest", image.platform, image.manifest, datetime(2026, 1, 1, tzinfo=UTC))
    cached = CachedImage(laptop.store, (stored,), lambda: laptop.registries)
    layer = image.layers[2]

    data = b"".join(cached.chunks(Descriptor(layer.media_type, layer.digest, layer.size)))

    assert ci.store.blob_path(layer.digest).read_bytes() == data
    assert not laptop.store.has_blob(layer.digest, layer.size)
