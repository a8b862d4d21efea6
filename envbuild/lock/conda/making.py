"""The conda part of a lock: solved or adopted, and the base that suits it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from envbuild.base.recipe import BaseRecipe, choose
from envbuild.errors import RepoError
from envbuild.lock.adopt.conda import read_locked_conda
from envbuild.lock.conda.part import CondaPart, previous_conda
from envbuild.lock.conda.process import CondaLock
from envbuild.lock.model import Lock
from envbuild.source import Repo
from envbuild.spec.conda_locked import LockedConda
from envbuild.spec.model import Adopted, Spec

__all__ = ["make_conda"]

_GLIBC = re.compile(r"__glibc >=(\d+)\.(\d+)\b")


def make_conda(
    spec: Spec,
    *,
    repo: Repo,
    conda_lock: CondaLock,
    recipes: Sequence[BaseRecipe],
    platforms: Sequence[str],
    previous: Lock | None,
    forgotten: Callable[[str], bool],
    exclude_newer: str | None,
) -> tuple[BaseRecipe, CondaPart]:
    """The conda packages that ``spec`` gets, and the base to put them on.

    conda brings a Python of its own, so any base will do. Best is one whose Python has the same minor
    version, for then it can compile bytecode for the environment; else the newest.

    Parameters:
        previous: the lock to stay close to.
        forgotten: whether a package's earlier version is no longer preferred.

    Raises:
        RepoError: the packages cannot be had, or are not in the lock that is taken over.
        RemoteError: a channel failed.
    """
    if spec.conda is None:
        raise ValueError("nothing is asked of conda")
    recipe = choose(spec.python, recipes, required=False)
    if spec.adopted is not None:
        part = _adopted(read_locked_conda(repo, spec.adopted), platforms)
        recipe = _same_python(part, recipe, recipes)
        return _with_glibc(part, recipe, recipes, spec.adopted), part
    preferred = {
        platform: [
            f"{package.name} =={package.version} {package.build}"
            for package in previous_conda(previous, platform)
            if not forgotten(package.name)
        ]
        for platform in platforms
    }

    def solved(chosen: BaseRecipe, preferred: Mapping[str, Sequence[str]]) -> CondaPart:
        return CondaPart(
            conda_lock.solve(
                spec.conda,  # type: ignore[arg-type]  # None was refused above
                platforms=platforms,
                glibc=chosen.glibc,
                preferred=preferred,
                exclude_newer=exclude_newer,
            )
        )

    part = solved(recipe, preferred)
    better = _same_python(part, recipe, recipes)
    if better.glibc != recipe.glibc:
        again = solved(better, _preferred(part))
        if _same_python(again, better, recipes) == better:
            return better, again
        return recipe, part
    return better, part


def _adopted(lock: LockedConda, platforms: Sequence[str]) -> CondaPart:
    packages = {}
    for platform in platforms:
        found = lock.conda.get(platform, ())
        if not found:
            raise RepoError(
                f"this lock has no packages for {platform}",
                code="adopted-lock-unfit",
                file=lock.path,
                remedy="make the lock for this platform too, or build for another (--platform)",
            )
        packages[platform] = tuple(sorted(found, key=lambda package: package.name))
    return CondaPart(packages)


def _minors(part: CondaPart) -> set[str]:
    versions = {part.python(platform) for platform in part.packages}
    return {".".join(version.split(".")[:2]) for version in versions if version}


def _same_python(part: CondaPart, recipe: BaseRecipe, recipes: Sequence[BaseRecipe]) -> BaseRecipe:
    """The recipe with the environment's Python, or ``recipe`` when there is none."""
    minors = _minors(part)
    if recipe.python_minor in minors:
        return recipe
    return next((one for one in reversed(recipes) if one.python_minor in minors), recipe)


def _with_glibc(
    part: CondaPart, recipe: BaseRecipe, recipes: Sequence[BaseRecipe], adopted: Adopted
) -> BaseRecipe:
    """``recipe``, or another whose C library is as new as the packages need."""
    for package in (package for of in part.packages.values() for package in of):
        for text in package.depends:
            needed = _GLIBC.match(text)
            if needed is None:
                continue
            wanted = int(needed[1]), int(needed[2])
            if wanted <= _version(recipe.glibc):
                continue
            enough = [one for one in recipes if _version(one.glibc) >= wanted]
            if not enough:
                raise RepoError(
                    f"{package.name} {package.version} needs {text}, and no base has a C library that new",
                    code="glibc-too-old",
                    file=adopted.path,
                    line=package.line,
                    remedy="lock an older version of the package",
                )
            recipe = enough[0]
    return recipe


def _version(glibc: str) -> tuple[int, int]:
    major, minor = glibc.split(".")[:2]
    return int(major), int(minor)


def _preferred(part: CondaPart) -> dict[str, list[str]]:
    return {
        platform: [f"{package.name} =={package.version} {package.build}" for package in of]
        for platform, of in part.packages.items()
    }
