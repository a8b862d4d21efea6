"""Publishing to the shared cache: what is there afterwards, and what stays as it is."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from envbuild.errors import RemoteError
from envbuild.image.annotations import layer_descriptor
from envbuild.image.model import Image
from envbuild.plan import environment_id
from envbuild.registry.cache import layer_tag
from envbuild.registry.publish import publish
from envbuild.store import Blob
from tests.registry.conftest import BUMPED, LOCK, NEW
from tests.support.builds import Machine
from tests.support.registry import FakeRegistry, faults

ENV = environment_id(LOCK)


def read(registry: FakeRegistry, tag: str) -> dict[str, Any]:
    """The manifest or index under a tag of the shared cache."""
    held = registry.repository("team/envs")
    document: dict[str, Any] = json.loads(held.manifests[held.tags[tag]].data)
    return document


def test_the_environment_and_each_of_its_layers_have_a_tag(
    ci: Machine, registry: FakeRegistry, built: Image
) -> None:
    published = ci.publish(LOCK, built)

    keyed = [layer for layer in built.layers if layer.key]
    tags = {ENV, *(layer_tag(layer.key, "zstd") for layer in keyed)}
    assert (tags, len(keyed)) == (set(registry.repository("team/envs").tags), published.layers)
    assert [layer_descriptor(layer).to_json() for layer in keyed] == read(registry, ENV)["layers"]
    assert f"{registry.address}/team/envs:{ENV}" == str(published.reference)


def test_the_exact_manifest_of_a_layer(ci: Machine, registry: FakeRegistry, built: Image) -> None:
    """Several machines may write it at once: they have to write the same."""
    ci.publish(LOCK, built)
    layer = built.layers[2]

    assert {
        "artifactType": "application/vnd.envbuild.layer.v1",
        "config": {
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "mediaType": "application/vnd.oci.empty.v1+json",
            "size": 2,
        },
        "layers": [layer_descriptor(layer).to_json()],
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "schemaVersion": 2,
    } == read(registry, layer_tag(layer.key, "zstd"))


def test_the_repositorys_files_are_not_shared(ci: Machine, registry: FakeRegistry, built: Image) -> None:
    ci.publish(LOCK, built)

    assert built.layers[-1].digest not in registry.blobs


def test_what_is_there_is_not_sent_again(ci: Machine, registry: FakeRegistry, built: Image) -> None:
    """Nothing changed, or only notebooks did: one question."""
    ci.publish(LOCK, built)
    registry.forget()

    published = ci.publish(LOCK, ci.build(LOCK, {"a.ipynb": '{"cells": []}'}))

    assert ["get-manifest"] == [request.kind for request in registry.requests if request.kind != "ping"]
    assert 0 == published.layers


def test_machines_that_publish_at_the_same_time_agree(
    ci: Machine, registry: FakeRegistry, built: Image
) -> None:
    """Each asks while nothing is there, and both write."""
    machines = [ci, ci.again(), ci.again()]

    with ThreadPoolExecutor() as pool:
        published = list(pool.map(lambda machine: machine.publish(LOCK, built), machines))

    keyed = [layer for layer in built.layers if layer.key]
    tags = {ENV, *(layer_tag(layer.key, "zstd") for layer in keyed)}
    assert tags == set(registry.repository("team/envs").tags)
    assert {registry.repository("team/envs").tags[ENV]} == {one.digest for one in published}
    assert [] == [note for machine in machines for note in machine.reporter.notes]


def test_a_registry_that_said_too_early_that_it_has_a_blob_gets_it(
    ci: Machine, registry: FakeRegistry, built: Image
) -> None:
    """As happens when another runner is sending the same one."""
    tag = layer_tag(built.layers[2].key, "zstd")
    rule = registry.fail(
        faults.status(404, "MANIFEST_BLOB_UNKNOWN"), kind="put-manifest", path=f"/{tag}$", times=1
    )

    published = ci.publish(LOCK, built)

    assert (1, published.digest) == (rule.hits, registry.repository("team/envs").tags[ENV])
    assert tag in registry.repository("team/envs").tags


def test_of_two_results_for_one_key_the_first_stays_and_the_second_is_told(
    ci: Machine, registry: FakeRegistry, built: Image
) -> None:
    """A step that does not give the same each time ran on two machines at once."""
    ci.publish(LOCK, built)
    before = dict(registry.repository("team/envs").tags)
    layer = built.layers[2]
    other = replace(layer, diff_id="sha256:" + "9" * 64)
    image = ci.builder().environments(
        LOCK, b"lock", [replace(built, layers=(*built.layers[:2], other, *built.layers[3:]))]
    )

    publish(
        image,
        (),
        reference=ci.shared.with_tag(ENV),
        store=ci.store,
        registries=ci.registries,
        reporter=ci.reporter,
    )

    assert before == registry.repository("team/envs").tags
    assert [
        f"{ci.shared.name} has another layer `{layer.title}` for the same inputs",
        f"{ci.shared.name} has another environment for linux/amd64 for the same inputs",
    ] == [note.partition(", which stays there: ")[0] for note in ci.reporter.notes]


def test_platforms_built_on_different_machines_are_put_together(
    ci: Machine, registry: FakeRegistry, built: Image
) -> None:
    ci.publish(LOCK, built)
    (amd64,) = ci.builder().environments(LOCK, b"lock", [built])
    config = json.loads(ci.store.blob_path(amd64.config.digest).read_bytes())
    config["architecture"] = "arm64"
    arm64 = other_platform(ci, amd64, config)

    publish(
        [arm64],
        (),
        reference=ci.shared.with_tag(ENV),
        store=ci.store,
        registries=ci.registries,
        reporter=ci.reporter,
    )

    index = read(registry, ENV)
    assert {
        ("amd64", amd64.manifest.digest),
        ("arm64", arm64.manifest.digest),
    } == {(part["platform"]["architecture"], part["digest"]) for part in index["manifests"]}


def other_platform(machine: Machine, image: Image, config: dict[str, Any]) -> Image:
    """``image`` with another config."""
    stored = machine.store.put_blob(json.dumps(config).encode())
    manifest = json.loads(machine.store.blob_path(image.manifest.digest).read_bytes())
    manifest["config"] |= {"digest": stored.digest, "size": stored.size}
    blob: Blob = machine.store.put_blob(json.dumps(manifest).encode())
    return replace(image, platform="linux/arm64", config=stored, manifest=blob)


def test_a_tag_that_cannot_be_set_twice_stays(ci: Machine, registry: FakeRegistry, built: Image) -> None:
    """The lock's text has changed, and with it the layer that has the lock; the environment is the same."""
    ci.publish(LOCK, built)
    before = registry.repository("team/envs").tags[ENV]
    registry.fail(faults.status(403, "DENIED"), kind="put-manifest", path=f"/{ENV}$", times=None)
    image = ci.builder().environments(LOCK, b"another text", [built])

    published = publish(
        image,
        (),
        reference=ci.shared.with_tag(ENV),
        store=ci.store,
        registries=ci.registries,
        reporter=ci.reporter,
    )

    assert before == registry.repository("team/envs").tags[ENV] == published.digest
    assert f"{ci.shared.name}:{ENV} stays as it is" in ci.reporter.notes[0]


@pytest.mark.parametrize("kind", ["get-manifest", "finish-upload", "put-manifest"])
def test_a_registry_in_trouble_is_an_error(
    ci: Machine, registry: FakeRegistry, built: Image, kind: str
) -> None:
    """And there is no environment in the cache whose layers are not there."""
    registry.fail(faults.status(500), kind=kind, nth=2 if kind != "get-manifest" else 1, times=None)

    with pytest.raises(RemoteError):
        ci.publish(LOCK, built)

    assert ENV not in registry.repository("team/envs").tags


def test_a_bump_adds_its_layer_and_the_small_one_that_says_which_environment_it_is(
    ci: Machine, registry: FakeRegistry, built: Image
) -> None:
    ci.publish(LOCK, built)
    ci.give(NEW)

    published = ci.publish(BUMPED, ci.build(BUMPED))

    assert 2 == published.layers
    assert {ENV, environment_id(BUMPED)} <= set(registry.repository("team/envs").tags)
