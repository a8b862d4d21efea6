"""Planning: which wheels share a layer, and that one change touches one layer."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from envbuild.base.recipe import load_recipes
from envbuild.layers import (
    AdditionsLayer,
    AptLayer,
    CondaLayer,
    GlueLayer,
    LayerPlan,
    OsLayer,
    RegistryLayer,
    WheelLayer,
    needs_interpreter,
)
from envbuild.lock.model import Artifact, Base, CondaPackage, Deb, Lock, PlatformImage, Target, Wheel
from envbuild.pack import recipe
from envbuild.plan import assign_layers, environment_id, make_plan, solo_layers
from tests.support.base_images import lock_on_image, platform_image


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


def conda(
    name: str, version: str = "1.0", size: int = 1000, *, direct: bool = False, **more: object
) -> CondaPackage:
    filename = f"{name}-{version}-0.conda"
    sha256 = hashlib.sha256(filename.encode()).hexdigest()
    artifact = Artifact(filename, sha256, size, "conda-forge", f"linux-64/{filename}")
    return CondaPackage(name, version, "0", "linux-64", artifact, direct=direct, **more)  # type: ignore[arg-type]


def conda_lock(packages: tuple[CondaPackage, ...], wheels: tuple[Wheel, ...] = ()) -> Lock:
    """A lock of conda packages, with the wheels of a ``pip:`` section."""
    base = lock((), wheels)
    target = Target(
        "linux/amd64",
        assign_layers(wheels, buckets=recipe.CONDA_WHEEL_BUCKETS, solo=recipe.CONDA_WHEEL_SOLO_LAYERS),
        assign_layers(packages, buckets=recipe.CONDA_BUCKETS, solo=recipe.CONDA_SOLO_LAYERS),
    )
    return replace(base, targets=(target,))


def conda_of(chosen: dict[str, tuple[int, bool]]) -> tuple[CondaPackage, ...]:
    return tuple(conda(name, size=size, direct=direct) for name, (size, direct) in chosen.items())


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


@given(packages, packages)
def test_conda_packages_and_wheels_together_take_no_more_layers(
    chosen: dict[str, tuple[int, bool]], with_pip: dict[str, tuple[int, bool]]
) -> None:
    plan = make_plan(conda_lock(conda_of(chosen), wheels_of(with_pip)), "linux/amd64", b"lock")

    layers = [layer for layer in plan.layers if getattr(layer, "prefix", None) == recipe.ENV_PREFIX]
    packed = [package.name for layer in layers if isinstance(layer, CondaLayer) for package in layer.conda]
    assert sorted(packed) == sorted(chosen)
    assert len(layers) <= recipe.MAX_SOLO_LAYERS + recipe.ENV_BUCKETS + recipe.DIRECT_BUCKETS
    kinds = [type(layer) for layer in layers]
    assert kinds == sorted(kinds, key=lambda kind: kind is WheelLayer), "conda packages are below wheels"


def test_what_is_not_about_python_stays_when_python_changes() -> None:
    """And what is, is compiled by the base's Python when that is of the same minor version."""
    others = (
        conda("library", size=5_000_000),
        conda("module", size=5_000_000, depends=("python >=3.8",)),
        conda("pure", size=5_000_000, noarch="python"),
    )
    plans = [
        make_plan(
            conda_lock((conda("python", version, 5_000_000), *others), (wheel("w"),)), "linux/amd64", b""
        )
        for version in ("3.11.9", "3.12.4")
    ]
    before, after = (
        {layer.title: layer for layer in plan.layers if isinstance(layer, CondaLayer | WheelLayer)}
        for plan in plans
    )

    same = {title for title, layer in before.items() if layer.key == after[title].key}
    assert same == {"library", "Jupyter server bucket-00"}
    assert [bool(before[title].interpreter) for title in ("module", "pure", "library")] == [True, True, False]
    assert [bool(after[title].interpreter) for title in ("module", "pure", "library")] == [False] * 3
    assert before["pure"].python == "3.11"
    assert [
        (layer.python, needs_interpreter(layer)) for layer in plans[1].layers if layer.packages == ("w==1.0",)
    ] == [("3.11", True), ("3.12", False)]


def test_a_python_that_looks_for_packages_elsewhere_gets_them_there_and_no_bytecode() -> None:
    place = "lib/python3.11t/site-packages"
    chosen = (conda("python", "3.11.9", site_packages=place), conda("pure", noarch="python"))
    layers = make_plan(conda_lock(chosen, (wheel("w"),)), "linux/amd64", b"").layers

    found = {
        (layer.libraries, layer.interpreter)
        for layer in layers
        if isinstance(layer, CondaLayer | WheelLayer) and layer.prefix == recipe.ENV_PREFIX
    }
    assert found == {(place, "")}


def test_a_server_of_conda_packages_replaces_the_bases() -> None:
    names = (recipe.SERVER_PACKAGES - {"jupyterhub", "notebook"}) | {"jupyterhub-singleuser", "python"}
    lock_of_two = conda_lock(tuple(map(conda, sorted(names))), (wheel("notebook"),))

    layers = make_plan(lock_of_two, "linux/amd64", b"").layers

    assert not [layer for layer in layers if getattr(layer, "prefix", "") == recipe.SERVER_PREFIX]


def test_the_environment_id_knows_conda_and_apt() -> None:
    first = conda_lock((conda("a"),))
    with_apt = replace(first, targets=(replace(first.targets[0], apt=(deb("r-base"),)),))

    ids = {environment_id(one) for one in (lock(()), first, conda_lock((conda("a", "2.0"),)), with_apt)}
    assert len(ids) == 4


def test_debian_packages_are_one_layer_between_the_server_and_the_environment() -> None:
    plain = lock((wheel("numpy", size=16_000_000),))
    target = replace(plain.targets[0], apt=(deb("git"), deb("git-man")))

    layers = make_plan(replace(plain, targets=(target,)), "linux/amd64", b"").layers

    titles = [layer.title for layer in layers]
    apt = layers[titles.index("Debian packages of apt.txt")]
    assert isinstance(apt, AptLayer)
    assert ("git", "git-man") == tuple(name.partition("==")[0] for name in apt.packages)
    assert layers[0].key == apt.base
    assert titles.index(apt.title) < titles.index("numpy")


def test_other_kernels_start_what_is_installed() -> None:
    plain = replace(lock((wheel("bash-kernel"),)), other_kernels=(("bash", "bash"), ("ir", "r")))

    glue = make_plan(plain, "linux/amd64", b"").layers[-1]

    assert isinstance(glue, GlueLayer)
    assert ["bash"] == [name for name, _ in glue.other_kernels]
    assert environment_id(plain) != environment_id(replace(plain, other_kernels=()))


@pytest.mark.parametrize(
    ("package", "language", "program"),
    [
        ("r-irkernel", "r", "bin/R"),
        ("xeus-r", "r", "bin/xr"),
        ("bash_kernel", "bash", "bin/python3"),
        ("bash-kernel", "bash", "bin/python3"),
        ("xeus-sql", "sql", "bin/xsql"),
        ("xeus_cling", "c++", "bin/xcpp"),
    ],
)
def test_a_kernel_that_conda_brings_gets_the_kernelspec_of_the_notebook(
    package: str, language: str, program: str
) -> None:
    locked = replace(conda_lock((conda("python"), conda(package))), other_kernels=(("mine", language),))
    layer = make_plan(locked, "linux/amd64", b"").layers[-1]

    assert isinstance(layer, GlueLayer)
    ((name, way),) = layer.other_kernels
    assert ("mine", f"/srv/env/{program}") == (name, way.argv[0])


def test_variables_make_another_environment() -> None:
    plain = lock((wheel("a"),))
    ids = {environment_id(replace(plain, variables=of)) for of in ((), (("A", "b"),), (("A", "c"),))}

    assert 3 == len(ids)


@given(packages, st.data())
def test_an_upgrade_changes_one_layer_and_moves_no_other(
    chosen: dict[str, tuple[int, bool]], data: st.DataObject
) -> None:
    """Its own one moves where it has become much larger or smaller."""
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

    def others(layers: tuple[LayerPlan, ...]) -> list[str]:
        return [layer.key for layer in layers[:-1] if name not in names(layer)]

    def names(layer: LayerPlan) -> set[str]:
        return {packed.split("==")[0] for packed in layer.packages}

    assert others(old_layers) == others(new_layers)
    (old,), (new,) = ([layer for layer in made if name in names(layer)] for made in (old_layers, new_layers))
    assert old.key != new.key
    titles = [[layer.title for layer in layers] for layers in (old_layers, new_layers)]
    assert titles[0] == titles[1] or chosen[name][0].bit_length() != size.bit_length()


def test_large_wheels_are_below_small_ones() -> None:
    """And wheels of about one size are in the order of their names, whoever asked for them."""
    wheels = (
        wheel("alone-first", size=3_000_000),
        wheel("direct", size=4_200_000, direct=True),
        wheel("early", size=4_300_000),
        wheel("torch", size=800_000_000),
        wheel("zoo", size=200_000_000),
    )
    plan = make_plan(lock(wheels), "linux/amd64", b"")

    of_wheels = [layer for layer in plan.layers if isinstance(layer, WheelLayer)]
    titles = [layer.title for layer in of_wheels if layer.prefix == recipe.ENV_PREFIX]
    assert ["torch", "zoo", "direct", "early", "alone-first"] == titles


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


class TestOnImagesOfRegistries:
    def test_its_layers_are_at_the_bottom_and_one_of_ours_makes_it_a_base(self) -> None:
        image = platform_image()
        plan = make_plan(lock_on_image(), "linux/amd64", b"lock")

        taken = [layer.layer for layer in plan.layers if isinstance(layer, RegistryLayer)]
        assert list(image.layers) == taken == [layer.layer for layer in plan.layers[:2]]  # type: ignore[union-attr]
        assert isinstance(plan.layers[2], AdditionsLayer)
        assert not any(isinstance(layer, OsLayer) for layer in plan.layers)

    def test_environments_are_of_its_own_python(self) -> None:
        (glue,) = (
            layer
            for layer in make_plan(lock_on_image(), "linux/amd64", b"lock").layers
            if isinstance(layer, GlueLayer)
        )

        assert ("3.12.4", "/usr/local/bin/python3.12") == (glue.python, glue.executable)

    @pytest.mark.parametrize(
        "changes",
        [
            {"digest": "sha256:" + "9" * 64},
            {"passwd": "root:x:0:0::/:/bin/sh\n"},
            {"python": "/opt/python3.12"},
            {"variables": (("PYTHONNODEBUGRANGES", "1"),)},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    def test_bytecode_of_one_image_is_never_that_of_another(self, changes: dict[str, Any]) -> None:
        """Whoever makes an image decides what its Python compiles; it must not get into anybody else's."""
        one, other = lock_on_image(), lock_on_image(platform_image(**changes))
        keys = [
            {
                layer.key
                for layer in make_plan(lock, "linux/amd64", b"lock").layers
                if needs_interpreter(layer)
            }
            for lock in (one, other)
        ]

        assert keys[0]
        assert set() == keys[0] & keys[1]
        assert environment_id(one) != environment_id(other)

    def test_what_apt_adds_is_of_this_image(self) -> None:
        def keys(image: PlatformImage) -> list[str]:
            lock = lock_on_image(image)
            target = replace(lock.targets[0], apt=lock.base.debs["linux/amd64"])
            return [
                layer.key
                for layer in make_plan(replace(lock, targets=(target,)), "linux/amd64", b"").layers
                if isinstance(layer, AptLayer)
            ]

        assert keys(platform_image()) != keys(platform_image(digest="sha256:" + "9" * 64))

    def test_many_layers_leave_less_room_for_others(self) -> None:
        def base(number: int) -> Base:
            return lock_on_image(platform_image(layers=platform_image().layers[:1] * number)).base

        assert [70, 70, 30] == [solo_layers(70, base(number)) for number in (1, 20, 60)]
        assert 70 == solo_layers(70, lock((), ()).base)
        most = 60 + 1 + 30 + recipe.ENV_BUCKETS + recipe.DIRECT_BUCKETS + recipe.SERVER_BUCKETS
        assert most < 125 - 10, "the server's big wheels, glue, projects and the repository"
