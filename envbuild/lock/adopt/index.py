"""What all adopted locks have in common: exact files, looked up in the user's own index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.pylock import Package, PackageWheel
from packaging.tags import Tag

from envbuild.errors import RepoError
from envbuild.lock.addresses import with_credentials
from envbuild.lock.reasons import explain
from envbuild.lock.select import Pin, marker_environment, target_tags
from envbuild.lock.source_resolver import names_without_wheels
from envbuild.lock.uv import look_up
from envbuild.lock.uv_process import Uv, UvFailure
from envbuild.spec.model import Requirement

__all__ = ["Taken", "Where", "ask_index", "find"]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a lock gives to one target: ``pins``, sorted by name, and what has to be built first.

    ``unbuilt`` are exact versions with the lock's hashes, of which neither the lock nor the index has a wheel
    for the target.
    """

    pins: tuple[Pin, ...]
    unbuilt: tuple[Requirement, ...] = ()


@dataclass(frozen=True, slots=True)
class Where:
    """The target, in the words of those who are asked about it.

    ``python`` is exact (``3.11.2``), ``glibc`` the newest manylinux policy (``2.36``).
    """

    uv: Uv
    python: str
    glibc: str
    platform: str

    @property
    def title(self) -> str:
        """The target for people."""
        return f"{self.platform} with Python {self.python}"

    @property
    def environment(self) -> dict[str, str]:
        """The target's values of environment markers."""
        return marker_environment(self.python, self.platform)

    @property
    def tags(self) -> list[Tag]:
        """The wheel tags that fit, best first."""
        return target_tags(self.python, self.platform, self.glibc)


def ask_index(asked: Sequence[Requirement], where: Where) -> Mapping[str, Package]:
    """What the user's index has of exactly these versions, by name; what it has no wheel of is left out.

    Raises:
        RepoError: a version is not in the index.
    """
    versions = {}
    for requirement in asked:
        name, _, version = requirement.text.partition("==")
        versions[name] = version
    while versions:
        try:
            answer = look_up(
                versions, uv=where.uv, python=where.python, glibc=where.glibc, platform=where.platform
            )
            return {package.name: package for package in answer.packages}
        except UvFailure as failure:
            # uv gives all or nothing, and names one package at a time.
            missing = names_without_wheels(failure.reason) & versions.keys()
            if not missing:
                raise explain(failure.reason, asked, (), where.title) from failure
            for name in missing:
                del versions[name]
    return {}


def find(wheel: PackageWheel, place: Requirement, package: Package | None, where: Where) -> Pin:
    """The wheel of a lock as the index has it: same file name, same hash.

    Parameters:
        place: ``name==version``, and where the lock says so.
        package: what the index has of it, None when it has no wheel.

    Raises:
        RepoError: the index has another file, or none.
    """
    expected = wheel.hashes["sha256"].lower()
    found = [
        offered
        for offered in (package.wheels if package else None) or ()
        if offered.filename == wheel.filename and offered.url
    ]
    name, _, version = place.text.partition("==")
    for offered in found:
        if offered.url and offered.hashes.get("sha256") == expected:
            return Pin(
                name=name,
                version=version,
                filename=wheel.filename,
                sha256=expected,
                url=with_credentials(offered.url, where.uv.environment),
                size=offered.size,
            )
    if found:
        trouble = f"the index says sha256 {found[0].hashes.get('sha256')}, the lock {expected}"
        code = "hash-mismatch"
    else:
        trouble = "the index does not have this file"
        code = "not-in-index"
    raise RepoError(
        f"{wheel.filename}: {trouble}",
        code=code,
        file=place.file,
        line=place.line,
        remedy="set the index it is from (UV_INDEX), or write the lock again with the tool that made it",
    )
