"""``pylock.toml`` (PEP 751)."""

from __future__ import annotations

import re
from typing import Any, cast

import tomli
from packaging.markers import Environment
from packaging.pylock import (
    Package,
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockValidationError,
)

from envbuild.errors import RepoError
from envbuild.lock.adopt.index import Taken, Where, ask_index, find
from envbuild.spec.model import Adopted, Requirement

__all__ = ["adopt_pylock", "parse_lock", "read_pylock"]


def read_pylock(adopted: Adopted, data: bytes) -> Pylock:
    """The lock that ``data`` is; raises :class:`RepoError` when it is not valid by PEP 751."""
    try:
        return Pylock.from_dict(parse_lock(adopted.path, data))
    except PylockValidationError as error:
        raise RepoError(
            f"not a valid lock file (PEP 751): {error}",
            code="bad-adopted-lock",
            file=adopted.path,
            remedy="write it again with the tool that made it",
        ) from error


def parse_lock(file: str, data: bytes) -> dict[str, Any]:
    """The TOML document ``data``; raises :class:`RepoError` when it is none."""
    try:
        return tomli.loads(data.decode())
    except (tomli.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RepoError(
            f"not valid TOML: {getattr(error, 'msg', error)}",
            code="bad-toml",
            file=file,
            line=getattr(error, "lineno", None),
            remedy="write it again with the tool that made it",
        ) from error


def adopt_pylock(lock: Pylock, adopted: Adopted, text: str, where: Where) -> Taken:
    """What ``lock`` gives to the target.

    Parameters:
        text: the lock file's, to find the lines of its packages.

    Raises:
        RepoError: the lock does not cover the target, or names something that no index has.
    """
    try:
        selected = list(
            lock.select(
                environment=cast("Environment", where.environment),
                tags=where.tags,
                extras=adopted.extras,
                dependency_groups=adopted.groups or None,
            )
        )
    except PylockSelectError as error:
        raise RepoError(
            f"the lock does not fit {where.title}: {error}",
            code="adopted-lock-unfit",
            file=adopted.path,
            remedy="make the lock for this target too, or choose another Python (`envbuild base list`)",
        ) from error
    asked: dict[str, tuple[Requirement, PackageWheel]] = {}
    unbuilt = []
    for package, chosen in selected:
        wheel = _wheel(package, chosen, adopted.path, text)
        place = Requirement(
            f"{package.name}=={package.version}",
            adopted.path,
            _line(text, package.name),
            (f"sha256:{wheel.hashes['sha256'].lower()}",),
        )
        if isinstance(wheel, PackageWheel):
            asked[package.name] = place, wheel
        else:
            unbuilt.append(place)
    offered = ask_index([place for place, _ in asked.values()], where)
    pins = [find(wheel, place, offered.get(name), where) for name, (place, wheel) in sorted(asked.items())]
    return Taken(tuple(pins), tuple(sorted(unbuilt, key=lambda place: place.text)))


def _wheel(package: Package, chosen: object, file: str, text: str) -> PackageWheel | PackageSdist:
    kinds = {
        "PackageVcs": "comes from a version control system",
        "PackageDirectory": "is a directory",
        "PackageArchive": "is an archive at a URL",
    }
    trouble = kinds.get(type(chosen).__name__)
    if isinstance(chosen, PackageWheel | PackageSdist) and "sha256" not in chosen.hashes:
        trouble = "has no sha256"
    if package.version is None:
        trouble = trouble or "has no version"
    if isinstance(chosen, PackageWheel | PackageSdist) and trouble is None:
        return chosen
    raise RepoError(
        f"{package.name} {trouble}, which cannot be taken over from this lock",
        code="unsupported-package",
        file=file,
        line=_line(text, package.name),
        remedy="lock a version that is in a package index",
    )


def _line(text: str, name: str) -> int | None:
    match = re.search(rf'^name = "{re.escape(name)}"', text, re.MULTILINE)
    return text.count("\n", 0, match.start()) + 1 if match else None
