"""Planning: which wheels share a layer, and that one change touches one layer."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from envbuild.base.recipe import load_recipes
from envbuild.layers import LayerPlan, WheelLayer
from envbuild.lock.model import Artifact, Base, Deb, Lock, Target, Wheel
from envbuild.pack import recipe
from envbuild.plan import assign_layers, environment_id, make_plan


def wheel(name: str, version: str = "1.0", size: int = 1000, *, direct: bool = False) -> Wheel:
    filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    sha256 = hashlib.sha256(filename.encode()).hexdigest()
    return Wheel(name, version, Artifact(filename, sha256, size, "pypi", f"packages/{filename}"), "", direct)


def deb(name: str) -> Deb:
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return Deb(name, "1", "amd64", Artifact(f"{name}_1_amd64.deb", sha256, 10, "debian", f"pool/{name}"))


def lock(wheels: tuple[Wheel, ...], server: tuple[Wheel, ...] = ()) -> Lock:
    base = Base(
        "python-3.11",
        "bookworm",
        "3.11.2",
        "2.36",
        {"linux/amd64": (deb("python3.11-minimal"),)},
        {"linux/amd64": assign_layers(server, buckets=recipe.SERVER_BUCKETS)},
        "2026-01-01T00:00:00Z",
    )
    target = Target("linux/amd64", assign_layers(wheels, buckets=recipe.ENV_BUCKETS))
    return Lock("proj", "Proj", "sha256:0", "2026-01-01T00:00:00Z", (), 1, "uv", base, (target,))


names = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,5})?", fullmatch=True)
sizes = st.integers(1, 10_000_000)
packages = st.dictionaries(names, st.tuples(sizes, st.booleans()), min_size=1, max_size=150)


def wheels_of(chosen: dict[str, tuple[int, bool]]) -> tuple[Wheel, ...]:
    return tuple(wheel(name, size=size, direct=direct) for name, (size, direct) in chosen.items())


@given(packages)
def test_every_wheel_is_in_exactly_one_layer_and_layers_are_few(chosen: dict[str, tuple[int, bool]]) -> None:
    wheels = wheels_of(chosen)
    plan = make_plan(lock(wheels, wheels), "linux/amd64", b"lock")

    for prefix in (recipe.ENV_PREFIX, recipe.SERVER_PREFIX):
        packed = [
            packed.name
            for layer in plan.layers
            if isinstance(layer, WheelLayer) and layer.prefix == prefix
            for packed in layer.wheels
        ]
        assert sorted(packed) == sorted(chosen)
    env = [
        layer for layer in plan.layers if isinstance(layer, WheelLayer) and layer.prefix == recipe.ENV_PREFIX
    ]
    assert len(env) <= recipe.MAX_SOLO_LAYERS + recipe.ENV_BUCKETS + recipe.DIRECT_BUCKETS


@given(packages, st.data())
def test_an_upgrade_changes_one_layer_and_moves_nothing(
    chosen: dict[str, tuple[int, bool]], data: st.DataObject
) -> None:
    before = lock(wheels_of(chosen))
    name = data.draw(st.sampled_from(sorted(chosen)))
    size = data.draw(sizes)
    changed = tuple(
        wheel(name, "2.0", size, direct=chosen[name][1]) if old.name == name else replace(old, layer="")
        for old in before.targets[0].wheels
    )
    target = replace(
        before.targets[0],
        wheels=assign_layers(changed, buckets=recipe.ENV_BUCKETS, previous=before.targets[0].wheels),
    )
    after = replace(before, targets=(target,))

    old_layers = make_plan(before, "linux/amd64", b"").layers
    new_layers = make_plan(after, "linux/amd64", b"").layers

    assert [layer.title for layer in old_layers] == [layer.title for layer in new_layers]
    differing = [new for old, new in zip(old_layers, new_layers, strict=True) if old.key != new.key]
    assert len(differing) == 1
    assert name in {packed.split("==")[0] for packed in differing[0].packages}


@given(packages)
def test_the_order_things_are_given_in_does_not_matter(chosen: dict[str, tuple[int, bool]]) -> None:
    wheels = wheels_of(chosen)

    assert make_plan(lock(wheels), "linux/amd64", b"") == make_plan(lock(wheels[::-1]), "linux/amd64", b"")


def test_big_wheels_are_below_small_ones_and_direct_small_ones_on_top() -> None:
    wheels = (
        wheel("asked", direct=True),
        wheel("big", size=5_000_000),
        wheel("bigasked", size=5_000_000, direct=True),
        wheel("small"),
    )
    titles = [layer.packages for layer in make_plan(lock(wheels), "linux/amd64", b"").layers[1:]]

    assert titles == [("big==1.0",), ("bigasked==1.0",), ("small==1.0",), ("asked==1.0",), ()]


def test_an_environment_with_a_whole_server_gets_no_second_one() -> None:
    server = tuple(wheel(name) for name in sorted(recipe.SERVER_PACKAGES))
    part = make_plan(lock(server[1:], server), "linux/amd64", b"")
    whole = make_plan(lock(server, server), "linux/amd64", b"")

    def prefixes(layers: tuple[LayerPlan, ...]) -> set[str]:
        return {layer.prefix for layer in layers if isinstance(layer, WheelLayer)}

    assert prefixes(part.layers) == {recipe.ENV_PREFIX, recipe.SERVER_PREFIX}
    assert prefixes(whole.layers) == {recipe.ENV_PREFIX}
    assert part.layers[-1].key != whole.layers[-1].key


def test_the_packages_of_a_server_are_those_of_the_bases() -> None:
    for base in load_recipes():
        assert {Requirement(text).name for text in base.server} == recipe.SERVER_PACKAGES


def test_the_environment_id_ignores_what_it_was_locked_from_and_when() -> None:
    first = lock((wheel("a"),))

    assert environment_id(first) == environment_id(replace(first, inputs="sha256:1", cutoff="2027"))
    assert environment_id(first) != environment_id(lock((wheel("a", "2.0"),)))
