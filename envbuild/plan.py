"""Which units share a layer, and in which order: ``Lock -> Plan``. Pure; nothing is fetched or read.

Order, bottom to top, is by how rarely things change, because Docker's classic store fetches everything
above the first changed layer again (docs/adr/0003-layers.md)::

    operating system and Python | Jupyter server, unless the user's packages include one
    | Debian packages of apt.txt | conda packages | the user's big wheels | small wheels in buckets
    | small wheels the user asked for | glue
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from envbuild.lock.model import Artifact, Base, CondaPackage, Deb, Lock, Target, Wheel
from envbuild.pack import recipe

__all__ = [
    "AptLayer",
    "CondaLayer",
    "GlueLayer",
    "LayerPlan",
    "OsLayer",
    "Plan",
    "WheelLayer",
    "assign_layer",
    "assign_layers",
    "environment_id",
    "make_plan",
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


_Package = TypeVar("_Package", Wheel, CondaPackage)


def assign_layers(
    wheels: Iterable[_Package], *, buckets: int, previous: Iterable[_Package] = ()
) -> tuple[_Package, ...]:
    """``wheels`` (or conda packages) with :attr:`Wheel.layer` set, sorted by name.

    A package that was locked before keeps its layer. When too many are large, only the largest stay alone.

    Parameters:
        buckets: how many layers the small wheels share.
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
    solo = sorted(
        (wheel for wheel in assigned if wheel.layer == wheel.name),
        key=lambda wheel: (-wheel.artifact.size, wheel.name),
    )
    crowded = {wheel.name for wheel in solo[recipe.MAX_SOLO_LAYERS :]}
    return tuple(
        replace(wheel, layer=assign_layer(wheel.name, 0, direct=wheel.direct, buckets=buckets))
        if wheel.name in crowded
        else wheel
        for wheel in assigned
    )


def _key(kind: str, inputs: dict[str, Any]) -> str:
    text = json.dumps(
        {"kind": kind, "recipe": recipe.VERSION, **inputs}, sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class OsLayer:
    """The operating system with Python, from debs."""

    recipe: str
    suite: str
    platform: str
    python: str
    debs: tuple[Deb, ...]
    title: str = "operating system and Python"

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """What has to be fetched to pack this layer."""
        return tuple(deb.artifact for deb in self.debs)

    @property
    def packages(self) -> tuple[str, ...]:
        """``name==version`` of what is inside."""
        return tuple(f"{deb.name}=={deb.version}" for deb in self.debs)

    @property
    def key(self) -> str:
        """Hex digest of everything the layer's bytes depend on."""
        return _key(
            "os",
            {
                "base": self.recipe,
                "platform": self.platform,
                "python": self.python,
                "debs": sorted(deb.artifact.sha256 for deb in self.debs),
            },
        )


@dataclass(frozen=True, slots=True)
class WheelLayer:
    """Some wheels installed into one prefix.

    ``interpreter`` identifies the build of Python that compiles the bytecode (version of its package).
    """

    title: str
    prefix: str
    python: str
    interpreter: str
    wheels: tuple[Wheel, ...]

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """What has to be fetched to pack this layer."""
        return tuple(wheel.artifact for wheel in self.wheels)

    @property
    def packages(self) -> tuple[str, ...]:
        """``name==version`` of what is inside."""
        return tuple(f"{wheel.name}=={wheel.version}" for wheel in self.wheels)

    @property
    def key(self) -> str:
        """Hex digest of everything the layer's bytes depend on: not the platform, so layers of pure
        Python packages are the same for all.
        """
        return _key(
            "wheels",
            {
                "prefix": self.prefix,
                "python": self.python,
                "interpreter": self.interpreter,
                "wheels": [[wheel.artifact.filename, wheel.artifact.sha256] for wheel in self.wheels],
            },
        )


@dataclass(frozen=True, slots=True)
class CondaLayer:
    """Some conda packages installed into the environment's prefix.

    ``python`` is the environment's (``3.12``), "" when it has none; ``interpreter`` identifies the build of
    Python that compiles the bytecode of ``noarch`` packages, "" when none of the base's can.
    """

    title: str
    prefix: str
    python: str
    interpreter: str
    conda: tuple[CondaPackage, ...]

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """What has to be fetched to pack this layer."""
        return tuple(package.artifact for package in self.conda)

    @property
    def packages(self) -> tuple[str, ...]:
        """``name==version`` of what is inside."""
        return tuple(f"{package.name}=={package.version}" for package in self.conda)

    @property
    def key(self) -> str:
        """Hex digest of everything the layer's bytes depend on."""
        return _key(
            "conda",
            {
                "prefix": self.prefix,
                "python": self.python,
                "interpreter": self.interpreter,
                "conda": [[package.artifact.filename, package.artifact.sha256] for package in self.conda],
            },
        )


@dataclass(frozen=True, slots=True)
class AptLayer:
    """The Debian packages of ``apt.txt``, installed in the sandbox on top of the base's layer.

    ``base`` is the key of that layer: the same packages give other files on another base.
    """

    platform: str
    base: str
    debs: tuple[Deb, ...]
    title: str = "Debian packages of apt.txt"

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """What has to be fetched to pack this layer."""
        return tuple(deb.artifact for deb in self.debs)

    @property
    def packages(self) -> tuple[str, ...]:
        """``name==version`` of what is inside."""
        return tuple(f"{deb.name}=={deb.version}" for deb in self.debs)

    @property
    def key(self) -> str:
        """Hex digest of everything the layer's bytes depend on, if its scripts are deterministic."""
        return _key(
            "apt",
            {
                "platform": self.platform,
                "base": self.base,
                "debs": sorted(deb.artifact.sha256 for deb in self.debs),
            },
        )


@dataclass(frozen=True, slots=True)
class GlueLayer:
    """What belongs to no package: virtual environments' skeletons, kernelspecs, entry point, lock.

    ``own_server``: the Jupyter server is in the user's environment, and there is no other.
    """

    name: str
    display_name: str
    python: str
    kernels: tuple[str, ...]
    lock: bytes
    own_server: bool
    title: str = "environment, kernels and entry point"
    artifacts: tuple[Artifact, ...] = ()
    packages: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Hex digest of everything the layer's bytes depend on."""
        return _key(
            "glue",
            {
                "name": self.name,
                "display_name": self.display_name,
                "python": self.python,
                "kernels": list(self.kernels),
                "lock": hashlib.sha256(self.lock).hexdigest(),
                "own_server": self.own_server,
            },
        )


LayerPlan = OsLayer | WheelLayer | GlueLayer


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
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return "env-" + hashlib.sha256(text.encode()).hexdigest()[:16]


def _has_server(target: Target) -> bool:
    """Whether the user's environment holds the whole Jupyter server, so that the base's is left out."""
    return {wheel.name for wheel in target.wheels} >= recipe.SERVER_PACKAGES


def _interpreter(base: Base) -> str:
    """The build of the Python that compiles bytecode.

    The same for every platform, because the output is: a lock always holds the same version for all.
    """
    wanted = f"python{base.python_minor}-minimal"
    for platform in sorted(base.debs):
        for deb in base.debs[platform]:
            if deb.name == wanted:
                return f"{wanted}={deb.version}"
    return f"{wanted}={base.python}"


def _wheel_layers(wheels: Iterable[Wheel], prefix: str, base: Base, title: str) -> list[WheelLayer]:
    groups: dict[str, list[Wheel]] = {}
    for wheel in wheels:
        groups.setdefault(wheel.layer, []).append(wheel)

    def rank(layer: str) -> tuple[int, int, str]:
        members = groups[layer]
        alone = layer == members[0].name
        asked_for = any(wheel.direct for wheel in members)
        return (0 if alone else 1, int(asked_for), layer)

    layers = []
    for layer in sorted(groups, key=rank):
        members = sorted(groups[layer], key=lambda wheel: wheel.name)
        alone = layer == members[0].name
        layers.append(
            WheelLayer(
                title=members[0].name if alone else f"{title} {layer}",
                prefix=prefix,
                python=base.python_minor,
                interpreter=_interpreter(base),
                wheels=tuple(members),
            )
        )
    return layers


def make_plan(lock: Lock, platform: str, lock_bytes: bytes) -> Plan:
    """The layers of ``lock``'s environment image for ``platform``.

    Parameters:
        lock_bytes: the lock file as written; it goes into the image.

    Raises:
        KeyError: the lock has no section for the platform.
    """
    target = lock.target(platform)
    base = lock.base
    own_server = _has_server(target)
    server = () if own_server else base.server[platform]
    layers: list[LayerPlan] = [
        OsLayer(base.recipe, base.suite, platform, base.python, base.debs[platform]),
        *_wheel_layers(server, recipe.SERVER_PREFIX, base, "Jupyter server"),
        *_wheel_layers(target.wheels, recipe.ENV_PREFIX, base, "packages"),
        GlueLayer(lock.name, lock.display_name, base.python, lock.kernels, lock_bytes, own_server),
    ]
    digest = "sha256:" + hashlib.sha256(lock_bytes).hexdigest()
    return Plan(platform, environment_id(lock), digest, lock, tuple(layers))
