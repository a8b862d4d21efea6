"""The conda packages of an environment, by platform: what they are in a lock, and what they are to pip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from envbuild.lock.conda.channels import Channels
from envbuild.lock.model import Artifact, CondaPackage, Lock
from envbuild.lock.select import Pin
from envbuild.lock.sizes import measure
from envbuild.pack import recipe as packing
from envbuild.plan import assign_layers
from envbuild.spec.channel import source_name
from envbuild.spec.conda_locked import LockedCondaPackage
from envbuild.store import Store

__all__ = ["CondaPart", "previous_conda"]

_PYPI = "pkg:pypi/"
# They need Python and are no Python packages.
_NO_PROJECTS = frozenset({"python", "python_abi", "pypy"})


@dataclass(frozen=True, slots=True)
class CondaPart:
    """The conda packages of each platform (``linux/amd64``), sorted by name."""

    packages: Mapping[str, tuple[LockedCondaPackage, ...]]

    def python(self, platform: str) -> str | None:
        """The exact version of the environment's Python, None when conda brings none."""
        for package in self.packages[platform]:
            if package.name == "python":
                return package.version
        return None

    def provided(self, platform: str) -> dict[str, str]:
        """What pip finds installed: version by normalised name (PEP 503).

        A package says in its record what it is on PyPI; else its name there is taken to be the same.
        """
        found: dict[str, str] = {}
        for package in self.packages[platform]:
            needs_python = package.noarch == "python" or any(
                text.split(" ")[0] == "python" for text in package.depends
            )
            names = [_pypi_name(purl) for purl in package.purls if purl.startswith(_PYPI)]
            if not names and needs_python and package.name not in _NO_PROJECTS:
                names = [package.name]
            try:
                version = str(Version(package.version))
            except InvalidVersion:
                continue
            found |= {str(canonicalize_name(name)): version for name in names}
        return found

    def measured(self, *, channels: Channels, store: Store, known: Mapping[str, int]) -> CondaPart:
        """With every size filled in.

        Raises:
            RemoteError: a channel does not tell the size of a package.
        """
        unknown = [package for of in self.packages.values() for package in of if package.size is None]
        pins = [
            Pin(
                package.name,
                package.version,
                package.filename,
                package.sha256,
                f"{channels.address(package.channel)}/{package.subdir}/{package.filename}",
            )
            for package in unknown
        ]
        sizes = {pin.sha256: pin.size for pin in measure(pins, store=store, known=known)}
        return CondaPart(
            {
                platform: tuple(
                    replace(package, size=sizes[package.sha256]) if package.size is None else package
                    for package in of
                )
                for platform, of in self.packages.items()
            }
        )

    def locked(
        self,
        platform: str,
        *,
        direct: frozenset[str],
        previous: Lock | None,
        solo: int = packing.CONDA_SOLO_LAYERS,
    ) -> tuple[CondaPackage, ...]:
        """The packages as a lock has them, in their layers.

        Parameters:
            direct: the names that the repository asks for.
            solo: how many big packages may have a layer of their own.
        """
        found = [
            CondaPackage(
                name=package.name,
                version=package.version,
                build=package.build,
                subdir=package.subdir,
                artifact=Artifact(
                    package.filename,
                    package.sha256,
                    package.size or 0,
                    source_name(package.channel),
                    f"{package.subdir}/{package.filename}",
                ),
                md5=package.md5,
                noarch=package.noarch,
                depends=package.depends,
                direct=package.name in direct,
                site_packages=package.site_packages,
            )
            for package in self.packages[platform]
        ]
        return assign_layers(
            found,
            buckets=packing.CONDA_BUCKETS,
            solo=solo,
            previous=previous_conda(previous, platform),
        )

    @property
    def channels(self) -> Iterable[str]:
        """Where the packages are from, sorted."""
        return sorted({package.channel for of in self.packages.values() for package in of})


def previous_conda(previous: Lock | None, platform: str) -> tuple[CondaPackage, ...]:
    """The conda packages of ``previous`` for ``platform``, none when it has none."""
    for target in previous.targets if previous else ():
        if target.platform == platform:
            return target.conda
    return ()


def _pypi_name(purl: str) -> str:
    """``torch`` of ``pkg:pypi/torch@2.5?source=...``."""
    return purl.removeprefix(_PYPI).partition("?")[0].partition("@")[0]
