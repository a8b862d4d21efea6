"""Which units share a layer, and in which order: ``Lock -> Plan``. Pure; nothing is fetched or read.

Order, bottom to top, is by how rarely things change, because Docker's classic store fetches everything
above the first changed layer again (docs/adr/0003-layers.md)::

    operating system and Python, or the layers of a registry's image and what is added to them
    | Jupyter server, unless the user's packages include one
    | Debian packages of apt.txt | conda packages | the user's big wheels | small wheels in buckets
    | small wheels the user asked for | glue | the repository's own projects
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from envbuild.kernel.languages import Packages, Way, installed_way
from envbuild.layers import (
    AdditionsLayer,
    AptLayer,
    CondaLayer,
    GlueLayer,
    LayerPlan,
    OsLayer,
    RegistryLayer,
    WheelLayer,
)
from envbuild.lock.model import Base, CondaPackage, Lock, Target, Wheel
from envbuild.pack import recipe

__all__ = [
    "Plan",
    "assign_layer",
    "assign_layers",
    "environment_id",
    "make_plan",
    "solo_layers",
    "system_layers",
]


def assign_layer(name: str, size: int, *, direct: bool, buckets: int) -> str:
    """The id of the layer a wheel is packed into: its own, or a bucket chosen by the hash of its name.

    The version plays no part, so an upgrade changes one layer and never moves a package.

    >>> assign_layer("numpy", 16_000_000, direct=False, buckets=12)
    'numpy'
    >>> assign_layer("six", 11_000, direct=False, buckets=12)
    'bucket-02'
    >>> assign_layer("six", 11_000, direct=True, buckets=12)
    'direct-02'
    """
    if size >= recipe.SOLO_WHEEL_BYTES:
        return name
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    if direct:
        return f"direct-{number % recipe.DIRECT_BUCKETS:02d}"
    return f"bucket-{number % buckets:02d}"


def solo_layers(usual: int, base: Base) -> int:
    """How many big packages may have a layer of their own on ``base``, where ``usual`` is the limit else."""
    images = base.image.platforms.values() if base.image else ()
    most = max((len(image.layers) for image in images), default=0)
    return max(0, usual - max(0, most - recipe.BASE_LAYERS))


_Package = TypeVar("_Package", Wheel, CondaPackage)


def assign_layers(
    wheels: Iterable[_Package],
    *,
    buckets: int,
    solo: int = recipe.MAX_SOLO_LAYERS,
    previous: Iterable[_Package] = (),
) -> tuple[_Package, ...]:
    """``wheels`` (or conda packages) with :attr:`Wheel.layer` set, sorted by name.

    A package that was locked before keeps its layer. When too many are large, only the largest stay alone.

    Parameters:
        buckets: how many layers the small wheels share; ``solo`` how many large ones may be alone.
        previous: the wheels of the same section of the previous lock.
    """
    before = {wheel.name: wheel for wheel in previous}
    assigned = []
    for wheel in sorted(wheels, key=lambda wheel: wheel.name):
        known = before.get(wheel.name)
        if known is not None and known.layer and known.direct == wheel.direct:
            layer = known.layer
        else:
            layer = assign_layer(wheel.name, wheel.artifact.size, direct=wheel.direct, buckets=buckets)
        assigned.append(replace(wheel, layer=layer))
    alone = sorted(
        (wheel for wheel in assigned if wheel.layer == wheel.name),
        key=lambda wheel: (-wheel.artifact.size, wheel.name),
    )
    crowded = {wheel.name for wheel in alone[solo:]}
    return tuple(
        replace(wheel, layer=assign_layer(wheel.name, 0, direct=wheel.direct, buckets=buckets))
        if wheel.name in crowded
        else wheel
        for wheel in assigned
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """The layers of an environment image for one platform, bottom to top.

    ``env`` identifies the environment (:func:`environment_id`), ``lock_digest`` the lock it was made from.
    """

    platform: str
    env: str
    lock_digest: str
    lock: Lock
    layers: tuple[LayerPlan, ...]


def environment_id(lock: Lock) -> str:
    """``env-<16 hex digits>``: equal for locks that give the same environment.

    Notebooks are no part of it, nor is what the environment was locked from or when.
    """
    content = [
        recipe.VERSION,
        lock.name,
        lock.display_name,
        list(lock.kernels),
        lock.base.python,
        {
            platform: [deb.artifact.sha256 for deb in debs]
            for platform, debs in lock.base.debs.items()
            if any(target.platform == platform for target in lock.targets)
        },
        {
            target.platform: [
                [wheel.artifact.sha256, wheel.layer] for wheel in lock.base.server[target.platform]
            ]
            for target in lock.targets
            if not _has_server(target)
        },
        {
            target.platform: [[wheel.artifact.sha256, wheel.layer] for wheel in target.wheels]
            for target in lock.targets
        },
    ]
    if any(target.conda or target.apt for target in lock.targets):
        content.append(
            {
                target.platform: [
                    [[package.artifact.sha256, package.layer] for package in target.conda],
                    [deb.artifact.sha256 for deb in target.apt],
                ]
                for target in lock.targets
            }
        )
    if lock.other_kernels:
        content.append(sorted(lock.other_kernels))
    if lock.variables:
        content.append({"variables": sorted(lock.variables)})
    if lock.base.image is not None:
        content.append(
            {target.platform: _system(lock.base, target.platform)[-1].key for target in lock.targets}
        )
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return "env-" + hashlib.sha256(text.encode()).hexdigest()[:16]


def _has_server(target: Target) -> bool:
    """Whether the user's environment holds the whole Jupyter server, so that the base's is left out."""
    names = {wheel.name for wheel in target.wheels} | {package.name for package in target.conda}
    return {recipe.CONDA_SERVER_NAMES.get(name, name) for name in names} >= recipe.SERVER_PACKAGES


def _other_kernels(lock: Lock, target: Target) -> tuple[tuple[str, Way], ...]:
    """The kernels that are not Python's, as far as the packages on ``target`` give them."""
    packages: Packages = {
        "apt": {deb.name for deb in target.apt},
        "conda": {package.name for package in target.conda},
        "index": {wheel.name for wheel in target.wheels},
    }
    ways = [(name, installed_way(language, packages)) for name, language in sorted(lock.other_kernels)]
    return tuple((name, way) for name, way in ways if way is not None)


def _interpreter(base: Base) -> str:
    """The build of the Python that compiles bytecode.

    The same for every platform, because the output is: a lock always holds the same version for all. Of an
    image of a registry nobody says that its Python is what it seems to be, so it is identified by the image.
    """
    if base.image is not None:
        builds = [
            [platform, image.python, _system(base, platform)[-1].key]
            for platform, image in sorted(base.image.platforms.items())
        ]
        return f"{base.python}@{hashlib.sha256(json.dumps(builds).encode()).hexdigest()}"
    wanted = f"python{base.python_minor}-minimal"
    for platform in sorted(base.debs):
        for deb in base.debs[platform]:
            if deb.name == wanted:
                return f"{wanted}={deb.version}"
    return f"{wanted}={base.python}"


@dataclass(frozen=True, slots=True)
class _Python:
    """The Python packages are installed for: fields of :class:`WheelLayer`."""

    python: str
    interpreter: str
    libraries: str = ""


def _environment_python(target: Target, base: Base) -> _Python:
    """The Python of the user's environment: conda's, if it brings one.

    Bytecode is the same for all patch releases of a CPython, but for an odd constant; so the base's may make
    that of a conda environment, and does when it has the same minor version.
    """
    for package in target.conda:
        if package.name == "python":
            minor = ".".join(package.version.split(".")[:2])
            usual = package.site_packages in ("", f"lib/python{minor}/site-packages")
            fits = usual and minor == base.python_minor and "pypy" not in package.build
            return _Python(minor, _interpreter(base) if fits else "", "" if usual else package.site_packages)
    return _Python(base.python_minor, _interpreter(base))


def _layer_groups(packages: Iterable[_Package], title: str) -> list[tuple[str, tuple[_Package, ...]]]:
    """Title and members of every layer, bottom to top, members by name."""
    groups: dict[str, list[_Package]] = {}
    for package in packages:
        groups.setdefault(package.layer, []).append(package)

    def alone(layer: str) -> bool:
        return layer == groups[layer][0].name

    def rank(layer: str) -> tuple[int, int, str]:
        if alone(layer):
            # An unpacked layer is shared only with images that have the same ones below it, so the large ones
            # are where least differs. Powers of two: a release that is a little larger stays in its place.
            return (0, -groups[layer][0].artifact.size.bit_length(), layer)
        return (1, int(any(package.direct for package in groups[layer])), layer)

    return [
        (
            layer if alone(layer) else f"{title} {layer}",
            tuple(sorted(groups[layer], key=lambda package: package.name)),
        )
        for layer in sorted(groups, key=rank)
    ]


def _wheel_layers(wheels: Iterable[Wheel], prefix: str, python: _Python, title: str) -> list[WheelLayer]:
    return [
        WheelLayer(name, prefix, python.python, python.interpreter, members, python.libraries)
        for name, members in _layer_groups(wheels, title)
    ]


def _conda_layers(packages: Iterable[CondaPackage], python: _Python) -> list[CondaLayer]:
    layers = []
    for name, members in _layer_groups(packages, "conda packages"):
        # What is not about Python stays the same when Python changes.
        of = python if any(map(_concerns_python, members)) else _Python("", "")
        layers.append(CondaLayer(name, recipe.ENV_PREFIX, of.python, of.interpreter, members, of.libraries))
    return layers


def _concerns_python(package: CondaPackage) -> bool:
    names = {package.name, *(spec.split()[0] for spec in package.depends if spec.strip())}
    return package.noarch == "python" or not names.isdisjoint({"python", "python_abi"})


def _system(base: Base, platform: str) -> tuple[LayerPlan, ...]:
    """The base; the key of its last layer identifies all of it."""
    debs = base.debs[platform]
    if base.image is None:
        return (OsLayer(base.recipe, base.suite, platform, base.python, debs),)
    image = base.image.platforms[platform]
    layers = [RegistryLayer(layer, base.name) for layer in image.layers]
    return (*layers, AdditionsLayer(platform, image, debs))


def system_layers(lock: Lock, platform: str) -> tuple[LayerPlan, ...]:
    """What packages are built in: the base, and what ``apt.txt`` adds to it."""
    system = _system(lock.base, platform)
    for target in lock.targets:
        if target.platform == platform and target.apt:
            return (*system, _apt_layer(lock.base, target, system))
    return system


def _apt_layer(base: Base, target: Target, system: tuple[LayerPlan, ...]) -> AptLayer:
    return AptLayer(target.platform, system[-1].key, target.apt, has_dpkg=base.image is not None)


def make_plan(lock: Lock, platform: str, lock_bytes: bytes, projects: Iterable[Wheel] = ()) -> Plan:
    """The layers of ``lock``'s environment image for ``platform``.

    Parameters:
        lock_bytes: the lock file as written; it goes into the image.
        projects: the repository's own, which change more often than everything else.

    Raises:
        KeyError: the lock has no section for the platform.
    """
    target = lock.target(platform)
    base = lock.base
    own_server = _has_server(target)
    server = () if own_server else base.server[platform]
    own, python = _Python(base.python_minor, _interpreter(base)), _environment_python(target, base)
    system = _system(base, platform)
    layers: list[LayerPlan] = [
        *system,
        *_wheel_layers(server, recipe.SERVER_PREFIX, own, "Jupyter server"),
        *([_apt_layer(base, target, system)] if target.apt else []),
        *_conda_layers(target.conda, python),
        *_wheel_layers(target.wheels, recipe.ENV_PREFIX, python, "packages"),
        GlueLayer(
            lock.name,
            lock.display_name,
            base.python,
            base.executable(platform),
            lock.kernels,
            lock_bytes,
            environment_id(lock),
            own_server,
            target.conda,
            _other_kernels(lock, target),
        ),
        *_wheel_layers(projects, recipe.ENV_PREFIX, python, "project"),
    ]
    digest = "sha256:" + hashlib.sha256(lock_bytes).hexdigest()
    return Plan(platform, environment_id(lock), digest, lock, tuple(layers))
