"""The layers an image can have, as plans: what is in them and the key of their bytes. Pure.

A layer's *key* is a digest of everything its bytes depend on: it tells alone whether a layer must be packed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from envbuild.kernel.languages import Way
from envbuild.lock.model import Artifact, CondaPackage, Deb, ImageLayer, PlatformImage, Wheel
from envbuild.pack import recipe

__all__ = [
    "GLUE_TITLE",
    "REPOSITORY_TITLE",
    "AdditionsLayer",
    "AptLayer",
    "CondaLayer",
    "GlueLayer",
    "LayerPlan",
    "OsLayer",
    "RegistryLayer",
    "WheelLayer",
    "needs_interpreter",
]


# Titles of layers that are looked for in images.
GLUE_TITLE = "environment, kernels and entry point"
REPOSITORY_TITLE = "repository"


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
class RegistryLayer:
    """A layer of the image that the base is: taken as it is, never packed."""

    layer: ImageLayer
    title: str
    artifacts: tuple[Artifact, ...] = ()
    packages: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Hex digest of what it is."""
        return _key("registry", {"digest": self.layer.digest, "diff_id": self.layer.diff_id})


@dataclass(frozen=True, slots=True)
class AdditionsLayer:
    """What an image of envbuild's must have and ``image``, which the base is, need not have.

    ``debs`` are the packages that files are taken from.
    """

    platform: str
    image: PlatformImage
    debs: tuple[Deb, ...]
    title: str = "additions to the base"

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
        """Hex digest of everything the layer's bytes depend on, and of the image it is for."""
        return _key(
            "additions",
            {
                "platform": self.platform,
                "image": asdict(self.image),
                "debs": sorted(deb.artifact.sha256 for deb in self.debs),
            },
        )


@dataclass(frozen=True, slots=True)
class WheelLayer:
    """Some wheels installed into one prefix.

    ``interpreter`` identifies the build of Python that compiles the bytecode (version of its package), ""
    when none of the base's can. ``libraries`` is where Python looks for packages, "" for the usual place.
    """

    title: str
    prefix: str
    python: str
    interpreter: str
    wheels: tuple[Wheel, ...]
    libraries: str = ""

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
                **({"libraries": self.libraries} if self.libraries else {}),
            },
        )


@dataclass(frozen=True, slots=True)
class CondaLayer:
    """Some conda packages installed into the environment's prefix.

    ``python`` is the environment's (``3.12``), "" when it has none or no package is about Python.
    ``interpreter`` and ``libraries`` are as for :class:`WheelLayer`.
    """

    title: str
    prefix: str
    python: str
    interpreter: str
    conda: tuple[CondaPackage, ...]
    libraries: str = ""

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
        """Hex digest of everything the layer's bytes depend on; ``conda-meta`` repeats what the lock says."""
        return _key(
            "conda",
            {
                "prefix": self.prefix,
                "python": self.python,
                "interpreter": self.interpreter,
                "libraries": self.libraries,
                "conda": [
                    [
                        package.artifact.filename,
                        package.artifact.sha256,
                        package.artifact.source,
                        package.md5,
                        package.subdir,
                        package.direct,
                        *package.depends,
                    ]
                    for package in self.conda
                ],
            },
        )


@dataclass(frozen=True, slots=True)
class AptLayer:
    """The Debian packages of ``apt.txt``, installed in the sandbox on top of the base's layer.

    ``base`` is the key of that layer: the same packages give other files on another base. ``has_dpkg`` tells
    that dpkg is there; else it comes with the packages.
    """

    platform: str
    base: str
    debs: tuple[Deb, ...]
    has_dpkg: bool = False
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

    ``python`` is exact, ``executable`` where the base has it (``/usr/bin/python3.11``), ``environment`` the
    environment's id. ``own_server``: the Jupyter server is in the user's environment, and there is no other.
    ``conda`` are the packages of a conda prefix, ``other_kernels`` those of other languages: name of the
    kernelspec and how it is had.
    """

    name: str
    display_name: str
    python: str
    executable: str
    kernels: tuple[str, ...]
    lock: bytes
    environment: str
    own_server: bool
    conda: tuple[CondaPackage, ...] = ()
    other_kernels: tuple[tuple[str, Way], ...] = ()
    title: str = GLUE_TITLE
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
                "executable": self.executable,
                "kernels": list(self.kernels),
                "lock": hashlib.sha256(self.lock).hexdigest(),
                "environment": self.environment,
                "own_server": self.own_server,
                "other_kernels": [[name, *way.argv] for name, way in self.other_kernels],
                "variables": [
                    recipe.PYTHON_KERNEL_VARIABLES,
                    *(dict(way.variables) for _, way in self.other_kernels),
                ],
            },
        )


LayerPlan = OsLayer | RegistryLayer | AdditionsLayer | AptLayer | WheelLayer | CondaLayer | GlueLayer


def needs_interpreter(layer: LayerPlan) -> bool:
    """Whether packing ``layer`` makes bytecode, for which the base's Python has to run on this machine."""
    return isinstance(layer, OsLayer) or (
        isinstance(layer, WheelLayer | CondaLayer) and bool(layer.interpreter)
    )
