"""What images are made of, asked of a registry."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from envbuild.errors import EnvbuildError, RepoError
from envbuild.fleet.model import Environment, Fleet, ImageSource, Pin, Pool
from envbuild.image.model import Image
from envbuild.image.reference import Reference, parse_reference
from envbuild.pack.tar import Entry, file
from envbuild.registry.registries import Registries
from envbuild.registry.retry import Retries
from envbuild.store import Store
from envbuild.warm.images import DISK_FACTOR, UNPACKED_FACTOR, PoolImage, plan_fleet, pool_images
from envbuild.warm.present import NodePull, node_pulls
from tests.support.images import hold_image, make_image
from tests.support.registry import FakeRegistry, fake_registry, faults
from tests.warm.test_status import node

PLATFORM = "linux/amd64"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as running:
        yield running


@pytest.fixture
def registries() -> Iterator[Registries]:
    with Registries({}, retries=Retries(first_pause=0.0)) as made:
        yield made


def _push(store: Store, image: Image, registry: FakeRegistry) -> Reference:
    return parse_reference(hold_image(registry, "lab/x", store, image))


def _fleet(*references: Reference, platform: str = PLATFORM) -> tuple[Fleet, dict[str, Pin]]:
    environments = tuple(
        Environment(f"env{number}", ImageSource(reference)) for number, reference in enumerate(references)
    )
    fleet = Fleet(
        "lab", Path("fleet.toml"), environments, (Pool("cpu", (("pool", "cpu"),), platform=platform),)
    )
    return fleet, {
        one.name: Pin(one.name, reference) for one, reference in zip(environments, references, strict=True)
    }


def _layer(name: str) -> list[Entry]:
    return [file(f"srv/{name}", name.encode() * 100)]


def test_layers_are_shared_as_blobs_and_unpacked_only_with_what_is_below(
    store: Store, registry: FakeRegistry, registries: Registries
) -> None:
    """``b`` has a layer of ``a``, on another one: the blob is not pulled again, and is unpacked again."""
    a = make_image(store, [_layer("python"), _layer("numpy")])
    b = make_image(store, [_layer("r"), _layer("numpy")])
    fleet, pins = _fleet(*(_push(store, one, registry) for one in (a, b)))

    (plan,) = plan_fleet(fleet, pins, registries)

    own = {blob.digest: blob.size for one in (a, b) for blob in (one.manifest, one.config, *one.layers)}
    assert sum(own.values()) == plan.pull
    assert plan.pull + a.layers[1].size == plan.unshared
    unpacked = [round(layer.raw_size * DISK_FACTOR) for one in (a, b) for layer in one.layers]
    assert plan.pull + sum(unpacked) == plan.disk
    assert not any(planned.image.estimated for planned in plan.images)


def test_sizes_that_are_not_said_are_estimated(
    store: Store, registry: FakeRegistry, registries: Registries
) -> None:
    made = make_image(store, [_layer("python")])
    unsaid = _without_annotations(store, made)
    fleet, pins = _fleet(_push(store, unsaid, registry))

    (plan,) = plan_fleet(fleet, pins, registries)

    (planned,) = plan.images
    assert planned.image.estimated
    assert round(made.layers[0].size * UNPACKED_FACTOR * DISK_FACTOR) == sum(
        p.size for p in planned.image.snapshots
    )


def _without_annotations(store: Store, image: Image) -> Image:
    document = json.loads(store.blob_path(image.manifest.digest).read_bytes())
    for layer in document["layers"]:
        layer.pop("annotations", None)
    return replace(image, manifest=store.put_blob(json.dumps(document).encode()))


def test_what_cannot_be_kept_is_an_error_that_names_the_environment(
    store: Store, registry: FakeRegistry, registries: Registries
) -> None:
    there = _push(store, make_image(store, [_layer("a")]), registry)
    gone = there.with_digest("sha256:" + "0" * 64)
    codes = []
    for fleet, pins in (_fleet(gone), _fleet(there, platform="linux/arm64"), _fleet(there)):
        fleet = replace(fleet, pools=fleet.pools if len(codes) < 2 else ())
        with pytest.raises(EnvbuildError) as caught:
            plan_fleet(fleet, pins, registries)
        codes.append((caught.value.code, caught.value.exit_code, "env0" in caught.value.message))

    assert [
        ("warm-image-gone", 1, True),
        ("warm-image-platform", 1, True),
        ("fleet-no-pools", 2, False),
    ] == codes


def _ref(digit: str, tag: str | None = None) -> Reference:
    return Reference("registry.example.org", "lab/x", tag, "sha256:" + digit * 64)


def test_previous_images_are_those_that_no_environment_of_the_pool_is_now() -> None:
    fleet, pins = _fleet(_ref("a"), _ref("b", "tag"), _ref("c"), _ref("d"))
    before = {"env0": _ref("b"), "env1": _ref("f", "1"), "env2": _ref("f", "2")}
    pins = {name: replace(pin, previous=before.get(name)) for name, pin in pins.items()}
    (cpu,) = fleet.pools
    elsewhere = replace(fleet.environments[3], pools=("gpu",), launches=7)
    used = [replace(one, launches=3) for one in fleet.environments[:3]]
    fleet = replace(fleet, environments=(*used, elsewhere))

    now = [PoolImage(_ref(digit), (f"env{number}",), 3) for number, digit in enumerate("abc")]
    assert tuple(now) == pool_images(fleet, pins, cpu)
    assert (*now, PoolImage(_ref("f"), ("env1", "env2"), 6, previous=True)) == pool_images(
        fleet, pins, replace(cpu, keep_previous=True)
    )


def test_a_previous_image_that_is_gone_is_told_and_the_others_are_planned(
    store: Store, registry: FakeRegistry, registries: Registries
) -> None:
    there = _push(store, make_image(store, [_layer("a")]), registry)
    before = _push(store, make_image(store, [_layer("b")]), registry)
    fleet, pins = _fleet(there)
    fleet = replace(fleet, pools=(replace(fleet.pools[0], keep_previous=True),))

    def planned(previous: Reference) -> tuple[list[tuple[str, bool]], list[str]]:
        (plan,) = plan_fleet(fleet, {"env0": replace(pins["env0"], previous=previous)}, registries)
        images = [(str(one.image.reference), one.image.previous) for one in plan.images]
        return images, [gone.message for gone in plan.gone]

    gone = there.with_digest("sha256:" + "0" * 64)
    assert ([(str(there), False), (str(before), True)], []) == planned(before)
    assert (
        [(str(there), False)],
        [f"the previous image of env0 is not in its registry any more: {gone}"],
    ) == planned(gone)
    registry.fail(faults.status(403, "DENIED"), path=str(before.digest), times=None)
    with pytest.raises(EnvbuildError) as caught:
        planned(before)
    assert "registry-denied" == caught.value.code


def test_all_images_that_are_gone_are_named(
    store: Store, registry: FakeRegistry, registries: Registries
) -> None:
    there = _push(store, make_image(store, [_layer("a")]), registry)
    fleet, references = _fleet(*(there.with_digest("sha256:" + digit * 64) for digit in "01"), there)

    with pytest.raises(RepoError) as caught:
        plan_fleet(fleet, references, registries)

    assert "env0" in caught.value.message
    assert ["env1"] == re.findall(r"env\d", caught.value.detail or "")


def test_a_node_with_an_earlier_version_pulls_only_what_changed(
    store: Store, registry: FakeRegistry, registries: Registries
) -> None:
    before = make_image(store, [_layer("python"), _layer("numpy")])
    after = make_image(store, [_layer("python"), _layer("numpy-2")])
    old = _push(store, before, registry)
    fleet, pins = _fleet(_push(store, after, registry))
    (plan,) = plan_fleet(fleet, pins, registries)
    nodes = [
        node("n1", images=[str(old), "registry.example.org/other:1", "<none>@<none>"]),
        node("n2"),
        node("n3", pool="gpu"),
    ]

    changed = after.manifest.size + after.config.size + after.layers[1].size
    expected = {"cpu": (NodePull("n1", changed), NodePull("n2", plan.pull))}
    assert expected == node_pulls([plan], nodes, registries)


def test_no_image_is_asked_for_twice_for_several_pools_and_what_their_nodes_list(
    store: Store, registry: FakeRegistry, registries: Registries
) -> None:
    old, new = (_push(store, make_image(store, [_layer(name)]), registry) for name in ("old", "new"))
    fleet, pins = _fleet(new)
    (cpu,) = fleet.pools
    fleet = replace(fleet, pools=(cpu, replace(cpu, name="more", selector=(("pool", "more"),))))
    nodes = [node(f"n{pool}", pool=pool, images=[str(old), str(new)]) for pool in ("cpu", "more")]

    plans = plan_fleet(fleet, pins, registries)

    expected = {"cpu": (NodePull("ncpu", 0),), "more": (NodePull("nmore", 0),)}
    assert expected == node_pulls(plans, nodes, registries)
    assert [f"/v2/lab/x/manifests/{one.digest}" for one in (new, old)] == [
        request.target for request in registry.asked("get-manifest")
    ]
