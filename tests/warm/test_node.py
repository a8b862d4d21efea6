"""One node: what is pulled, what goes, and what a failure leaves; with an engine and images in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from envbuild.errors import MachineError
from envbuild.fleet.model import Environment, Fleet, ImageSource, Pin, Pool
from envbuild.image.model import Image
from envbuild.image.reference import Reference
from envbuild.pack.tar import file
from envbuild.progress import Silent
from envbuild.registry.registries import Registries
from envbuild.store import Store
from envbuild.warm.engines import Inventory, KeptImage, Wanted, pinned_name
from envbuild.warm.images import chain_ids
from envbuild.warm.node import NodeWarmth, warm_node
from tests.support.images import make_image
from tests.support.registry import FakeRegistry, fake_registry
from tests.support.registry.wire import Exchange, Reply

_POOL = Pool("cpu")


@dataclass
class Engine:
    """An engine with room for ``room`` bytes; ``images`` are names with their views, ``fleets`` whose they
    are; ``pulls`` is what was pulled, in order.
    """

    room: int = 1 << 40
    images: dict[str, Wanted] = field(default_factory=dict)
    fleets: dict[str, frozenset[str]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    pulls: list[str] = field(default_factory=list)
    name = "engine"

    def inventory(self) -> Inventory:
        views = [wanted.view for wanted in self.images.values()]
        return Inventory(
            frozenset(layer.digest for view in views for layer in view.layers),
            frozenset(chain for view in views for chain in chain_ids(layer.diff_id for layer in view.layers)),
        )

    def free(self) -> int | None:
        had, taken = Inventory(frozenset(), frozenset()), 0
        for wanted in self.images.values():
            taken += had.disk_size(wanted.view)
            had = had.joined(wanted.view)
        return self.room - taken

    def has(self, reference: Reference) -> bool:
        return pinned_name(reference) in self.images

    def pull(self, wanted: Wanted, *, fleet: str, sent: Callable[[int], None]) -> None:
        for layer in wanted.view.layers:
            for chunk in wanted.medium.chunks(layer.descriptor):
                sent(len(chunk))
        name = pinned_name(wanted.reference)
        self.images[name], self.fleets[name] = wanted, frozenset({fleet})
        self.pulls.append(name)

    def kept(self) -> tuple[KeptImage, ...]:
        return tuple(KeptImage(name, fleets, name in self.used) for name, fleets in self.fleets.items())

    def claim(self, image: KeptImage, fleet: str) -> None:
        self.fleets[image.name] |= {fleet}

    def release(self, image: KeptImage, fleet: str) -> bool:
        self.fleets[image.name] -= {fleet}
        if self.fleets[image.name]:
            return False
        del self.images[image.name], self.fleets[image.name]
        return True


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as running:
        yield running


@pytest.fixture
def push(tmp_path: Path, registry: FakeRegistry) -> Callable[..., Reference]:
    """Puts an image of layers (by their sizes) into the registry."""
    store = Store(tmp_path / "cache")
    store.prepare()

    def make(name: str, *sizes: int) -> Reference:
        layers = [[file(f"{size}", b"x" * size)] for size in sizes]
        image: Image = make_image(store, layers, compression="none")
        for blob in (image.config, *image.layers):
            registry.put_blob(f"lab/{name}", store.blob_path(blob.digest).read_bytes())
        registry.put_manifest(f"lab/{name}", store.blob_path(image.manifest.digest).read_bytes())
        return Reference(registry.address, f"lab/{name}", None, image.manifest.digest)

    return make


def warm(
    engine: Engine,
    references: Mapping[str, Reference],
    *,
    fleet: str = "lab",
    pool: Pool = _POOL,
    previous: Mapping[str, Reference] | None = None,
    **options: bool,
) -> NodeWarmth:
    """Warm a node for a fleet in which what comes first is used most; with ``previous`` it keeps these."""
    environments = tuple(
        Environment(name, ImageSource(reference), launches=100 - number)
        for number, (name, reference) in enumerate(references.items())
    )
    pool = replace(pool, keep_previous=previous is not None)
    made = Fleet(fleet, Path("fleet.toml"), environments, (pool,))
    pins = {
        name: Pin(name, reference, previous=(previous or {}).get(name))
        for name, reference in references.items()
    }
    with Registries({}) as registries:
        return warm_node(made, pool, pins, engine, registries=registries, reporter=Silent(), **options)


def told(warmth: NodeWarmth) -> dict[str, tuple[str, int]]:
    return {image.environments[0]: (image.state, image.pull) for image in warmth.images}


def gone(reference: Reference) -> Reference:
    return replace(reference, digest="sha256:" + "0" * 64)


def test_what_is_used_most_comes_first_and_shared_layers_are_pulled_once(
    push: Callable[..., Reference],
) -> None:
    engine, images = Engine(), {"large": push("large", 5000, 9000), "small": push("small", 5000, 100)}

    planned = told(warm(engine, images, dry_run=True))
    assert {} == engine.images
    done = told(warm(engine, images))

    assert [pinned_name(reference) for reference in images.values()] == engine.pulls
    assert {name: pull for name, (_, pull) in planned.items()} == {
        name: pull for name, (_, pull) in done.items()
    }
    assert done["small"][1] < 5000 < done["large"][1]
    assert {"large": ("warm", 0), "small": ("warm", 0)} == told(warm(engine, images))


def test_an_image_that_is_here_needs_no_registry(
    push: Callable[..., Reference], registry: FakeRegistry
) -> None:
    engine, reference = Engine(), push("analysis", 10)
    warm(engine, {"analysis": reference})
    registry.repository("lab/analysis").manifests.clear()

    warmth = warm(engine, {"analysis": reference})

    assert ({"analysis": ("warm", 0)}, ()) == (told(warmth), warmth.errors)


def test_images_are_asked_for_together(push: Callable[..., Reference], registry: FakeRegistry) -> None:
    """The registry answers only once it was asked for both."""
    together = threading.Barrier(2, timeout=300)

    def answered(registry: FakeRegistry, exchange: Exchange) -> Reply:
        together.wait()
        return exchange.handle()

    images = {name: push(name, 10) for name in ("one", "two")}
    registry.fail(answered, kind="get-manifest", times=2)

    assert ["to-pull", "to-pull"] == [image.state for image in warm(Engine(), images, dry_run=True).images]


def test_old_images_stay_while_a_new_one_is_missing(push: Callable[..., Reference]) -> None:
    engine, old, other = Engine(), push("analysis", 10), push("other", 20)
    warm(engine, {"analysis": old})

    warmth = warm(engine, {"analysis": gone(old), "other": other})

    assert {"analysis": ("failed", 0), "other": ("pulled", warmth.images[0].pull)} == told(warmth)
    assert (["warm-image-gone"], ()) == ([error.code for error in warmth.errors], warmth.let_go)
    assert {pinned_name(old), pinned_name(other)} == engine.images.keys()


def test_old_images_make_room_for_new_ones(push: Callable[..., Reference]) -> None:
    engine, old, new = Engine(room=60_000), push("analysis", 15_000), push("analysis", 16_000)
    warm(engine, {"analysis": old})

    warmth = warm(engine, {"analysis": new})

    assert ["pulled"] == [image.state for image in warmth.images]
    assert [(pinned_name(old), "went")] == [(one.name, one.outcome) for one in warmth.let_go]


def test_the_image_before_stays_and_the_one_before_that_goes(push: Callable[..., Reference]) -> None:
    engine, images = Engine(), [push("analysis", 5000, size) for size in (10, 20, 30)]
    for number, image in enumerate(images):
        before = {"analysis": images[number - 1]} if number else {}
        warmth = warm(engine, {"analysis": image}, previous=before)

    first, second, third = map(pinned_name, images)
    assert [("pulled", False), ("warm", True)] == [(one.state, one.previous) for one in warmth.images]
    assert [(first, "went")] == [(one.name, one.outcome) for one in warmth.let_go]
    assert {second, third} == engine.images.keys()

    warmth = warm(engine, {"analysis": images[2]})
    assert [(second, "went")] == [(one.name, one.outcome) for one in warmth.let_go]


def test_previous_images_are_pulled_after_all_others(push: Callable[..., Reference]) -> None:
    engine, now, before = Engine(), {"a": push("a", 10), "b": push("b", 20)}, {"a": push("a", 30)}

    warm(engine, now, previous=before)

    assert [pinned_name(one) for one in (now["a"], now["b"], before["a"])] == engine.pulls


def test_a_previous_image_that_cannot_be_had_is_no_failure(push: Callable[..., Reference]) -> None:
    engine, oldest, now = Engine(), push("analysis", 10), push("analysis", 20)
    warm(engine, {"analysis": oldest})

    warmth = warm(engine, {"analysis": now}, previous={"analysis": gone(now)})

    assert (["pulled", "failed"], ()) == ([one.state for one in warmth.images], warmth.errors)
    assert ["warm-image-gone"] == [error.code for error in warmth.lacking]
    assert ({pinned_name(now)}, ["went"]) == (engine.images.keys(), [one.outcome for one in warmth.let_go])


@pytest.mark.parametrize("dry_run", [True, False])
def test_previous_images_give_way_when_there_is_no_room(
    push: Callable[..., Reference], dry_run: bool
) -> None:
    engine, before, now = Engine(room=60_000), push("analysis", 15_000), push("analysis", 16_000)
    warm(engine, {"analysis": before})

    for _ in range(2):  # and the next time it is not pulled again
        warmth = warm(engine, {"analysis": now}, previous={"analysis": before}, dry_run=dry_run)
        engine.pulls.clear()

    assert ["failed" if dry_run else "warm", "left-out"] == [one.state for one in warmth.images]
    assert {pinned_name(before if dry_run else now)} == engine.images.keys()


def test_previous_images_are_not_pulled_where_others_lack_room(push: Callable[..., Reference]) -> None:
    engine, large, small = Engine(room=60_000), push("a", 60_000), push("a", 10)

    warmth = warm(engine, {"a": large}, previous={"a": small})

    assert ({"a": ("left-out", 0)}, ["no-space"]) == (told(warmth), [error.code for error in warmth.errors])
    assert {} == engine.images


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_cannot_fit_fails_before_it_is_pulled(
    push: Callable[..., Reference], registry: FakeRegistry, dry_run: bool
) -> None:
    engine, images = Engine(room=90_000), {"a": push("a", 30_000), "b": push("b", 31_000)}

    warmth = warm(engine, images, dry_run=dry_run)

    assert ["failed"] == [image.state for image in warmth.images if image.environments == ("b",)]
    assert [("no-space", MachineError.exit_code)] == [(one.code, one.exit_code) for one in warmth.errors]


def test_what_is_beyond_the_budget_is_left_out_and_let_go(push: Callable[..., Reference]) -> None:
    engine, images = Engine(), {"a": push("a", 30_000), "b": push("b", 31_000)}
    warm(engine, images)

    warmth = warm(engine, images, pool=replace(_POOL, disk=90_000))

    assert {"a": ("warm", 0), "b": ("left-out", 0)} == told(warmth)
    assert [pinned_name(images["a"])] == list(engine.images)


@pytest.mark.parametrize(
    ("fleets", "used", "options", "outcome"),
    [
        ({"lab"}, False, {}, "went"),
        ({"lab"}, False, {"dry_run": True}, "would-go"),
        ({"lab"}, False, {"keep_old": True}, None),
        ({"lab"}, True, {}, "in-use"),
        ({"lab", "theirs"}, False, {}, "shared"),
        ({"lab", "theirs"}, False, {"dry_run": True}, "shared"),
        ({"theirs"}, False, {}, None),
    ],
)
def test_only_what_this_fleet_brought_and_nobody_needs_goes(
    push: Callable[..., Reference],
    fleets: set[str],
    used: bool,
    options: dict[str, bool],
    outcome: str | None,
) -> None:
    engine, old, new = Engine(), push("old", 10), push("new", 20)
    warm(engine, {"old": old})
    name = pinned_name(old)
    engine.fleets[name] = frozenset(fleets)
    engine.used = {name} if used else set()

    warmth = warm(engine, {"new": new}, **options)

    assert [outcome] * (outcome is not None) == [one.outcome for one in warmth.let_go]
    assert (outcome != "went") == (name in engine.images)


def test_what_another_fleet_brought_becomes_ours_too_and_what_nobody_brought_does_not(
    push: Callable[..., Reference],
) -> None:
    engine, theirs, found = Engine(), push("theirs", 10), push("found", 20)
    warm(engine, {"theirs": theirs, "found": found}, fleet="theirs")
    del engine.fleets[pinned_name(found)]

    warm(engine, {"theirs": theirs, "found": found})

    assert {pinned_name(theirs): frozenset({"lab", "theirs"})} == engine.fleets
