"""Locks of Poetry, PDM and Pipenv: which of their packages a target gets, and the files of those.

Nothing is solved. Where the lock says which groups need a package and under which marker, that decides;
where it does not (older formats), the packages are found by walking from the project's requirements
through the dependencies that the lock has (docs/adr/0015-walk-locks.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from packaging.pylock import Package, PackageWheel
from packaging.requirements import Requirement as Parsed
from packaging.version import Version

from envbuild.errors import RepoError
from envbuild.lock.adopt.index import Taken, Where, ask_index, find
from envbuild.lock.resolver import choose
from envbuild.lock.select import MACHINES, Pin, best_wheel
from envbuild.source import redact
from envbuild.spec.locked import Dependency, LockedPackage, LockedSet, applies
from envbuild.spec.model import Adopted, Requirement, Spec
from envbuild.spec.pep508 import canonical_name

__all__ = ["adopt_locked", "select"]

_SOURCE = "only source distributions"
_HASHES = "only hashes"
_UNFIT = "lock for this target too, or choose another Python (`envbuild base list`)"


def adopt_locked(lock: LockedSet, spec: Spec, where: Where) -> Taken:
    """What ``lock`` gives to the target.

    What ``spec.sources`` names is left out: it is built from there.

    Raises:
        RepoError: the lock does not cover the target, names something that no index has, or a hash in it is
            not that of the file in the index.
    """
    elsewhere = {source.name for source in spec.sources}
    packages = [
        package
        for package in select(lock, spec, where)
        if not (package.elsewhere and package.name in elsewhere)
    ]
    wheels = {package.name: _wheel(package, lock, where) for package in packages}
    asked = {package.name: _requirement(package, lock) for package in packages}
    try:
        offered = ask_index([asked[name] for name, wheel in wheels.items() if wheel != _SOURCE], where)
        pins = {
            package.name: _pin(wheel, asked[package.name], offered.get(package.name), where)
            for package in packages
            if (wheel := wheels[package.name]) != _SOURCE
        }
    except RepoError as error:
        for package in packages:
            if package.index and package.line == error.line:
                error.remedy = (
                    f"the lock has it from the index {redact(package.index)}, which only you can make one of "
                    "yours (UV_INDEX)"
                )
        raise
    unbuilt = [asked[package.name] for package in packages if pins.get(package.name) is None]
    return Taken(tuple(pin for pin in pins.values() if pin is not None), tuple(unbuilt))


def _requirement(package: LockedPackage, lock: LockedSet) -> Requirement:
    hashes = tuple(sorted(f"sha256:{file.sha256}" for file in package.files))
    return Requirement(f"{package.name}=={package.version}", lock.path, package.line, hashes)


def select(lock: LockedSet, spec: Spec, where: Where) -> list[LockedPackage]:
    """The packages of ``lock`` that the target gets, sorted by name.

    Raises:
        RepoError: the lock does not cover the target.
    """
    _check_platform(lock, where)
    roots = [_root(requirement) for requirement in spec.requirements]
    roots += [
        Dependency(source.name, extras=frozenset(source.extras), marker=source.marker or "")
        for source in spec.sources
        if source.name in lock.names
    ]
    if any(package.groups is None for package in lock.packages):
        chosen = _walk(lock, roots, where)
    else:
        chosen = _by_groups(lock, spec.adopted, roots, where)
    for package in chosen:
        if not _fits_python(package, where):
            wanted = " or ".join(map(str, package.python))
            _refuse(lock, package, f"{package.name} {package.version} is for Python {wanted}", _UNFIT, where)
    return sorted(chosen, key=lambda package: package.name)


def _check_platform(lock: LockedSet, where: Where) -> None:
    machine = MACHINES[where.platform]
    fitting = [
        name
        for name in lock.platforms
        if name == "linux" or (name.startswith(("linux_", "manylinux")) and name.endswith(machine))
    ]
    if lock.platforms and not fitting:
        raise RepoError(
            f"the lock is only for {', '.join(lock.platforms)}, not for {where.platform}",
            code="adopted-lock-unfit",
            file=lock.path,
            remedy="lock for this target too (`pdm lock --append --platform ...`)",
        )


def _by_groups(
    lock: LockedSet, adopted: Adopted | None, roots: Sequence[Dependency], where: Where
) -> list[LockedPackage]:
    """The packages whose marker holds for one of the groups that are selected."""
    extras = frozenset(map(canonical_name, adopted.extras if adopted else ()))
    groups = {lock.main, *map(canonical_name, adopted.groups if adopted else ())}
    if lock.extras_are_groups:
        groups |= extras
    found: dict[str, LockedPackage] = {}
    for package in lock.packages:
        markers = [marker for group, marker in (package.groups or {}).items() if group in groups]
        if not any(applies(marker, where.environment, extras) for marker in markers):
            continue
        if not package.version and not package.elsewhere:
            # Pipenv leaves out version and marker of what is not for the machine it ran on.
            asked = [root.marker for root in roots if root.name == package.name]
            if asked and not any(applies(marker, where.environment) for marker in asked):
                continue
        known = found.setdefault(package.name, package)
        if known.version != package.version:
            trouble = f"there are two versions of {package.name}: {known.version} and {package.version}"
            _refuse(lock, package, trouble, "lock again with the tool that made it", where)
    return list(found.values())


def _walk(lock: LockedSet, roots: Sequence[Dependency], where: Where) -> list[LockedPackage]:
    """The packages that ``roots`` lead to, through dependencies whose markers hold."""
    by_name: dict[str, list[LockedPackage]] = {}
    for package in lock.packages:
        if _fits_python(package, where):
            by_name.setdefault(package.name, []).append(package)
    wanted: dict[str, list[Dependency]] = {}
    while True:
        # What one package says about another may come up after that was chosen: then once more from the
        # start, knowing it. Every round learns at least one thing, so this ends.
        found, learned = _round(lock, by_name, roots, wanted, where)
        if not learned:
            return found
        wanted.setdefault(learned.name, []).append(learned)


def _root(requirement: Requirement) -> Dependency:
    parsed = Parsed(requirement.text)
    return Dependency(
        name=canonical_name(parsed.name),
        allowed=(parsed.specifier,) if parsed.specifier else (),
        extras=frozenset(map(canonical_name, parsed.extras)),
        marker=str(parsed.marker or ""),
    )


def _round(
    lock: LockedSet,
    by_name: Mapping[str, list[LockedPackage]],
    roots: Sequence[Dependency],
    wanted: Mapping[str, list[Dependency]],
    where: Where,
) -> tuple[list[LockedPackage], Dependency | None]:
    """One walk: the packages found, or the dependency that should have been known before."""
    chosen: dict[str, LockedPackage] = {}
    features: dict[str, frozenset[str]] = {}
    todo = [(root, frozenset[str]()) for root in roots]
    done: set[tuple[str, str, frozenset[str]]] = set()
    while todo:
        dependency, asked_with = todo.pop()
        if not dependency.when <= asked_with:
            continue
        if not applies(dependency.marker, where.environment, asked_with):
            continue
        name = dependency.name
        package = chosen.get(name)
        if package is None:
            demands = [dependency, *wanted.get(name, ())]
            package = _newest(by_name.get(name, ()), demands)
            if package is None:
                raise _not_covered(lock, dependency, where)
            chosen[name] = package
        elif not dependency.allows(package.version):
            if dependency in wanted.get(name, ()):
                raise _not_covered(lock, dependency, where)
            return [], dependency
        features[name] = features.get(name, frozenset()) | dependency.extras
        key = (name, package.version, features[name])
        if key not in done:
            done.add(key)
            todo += [
                (one, features[name])
                for other in by_name[name]
                if other.version == package.version
                for one in other.dependencies
            ]
    return list(chosen.values()), None


def _newest(candidates: Iterable[LockedPackage], demands: Sequence[Dependency]) -> LockedPackage | None:
    fitting = [one for one in candidates if all(demand.allows(one.version) for demand in demands)]
    return max(fitting, key=lambda one: Version(one.version or "0"), default=None)


def _not_covered(lock: LockedSet, dependency: Dependency, where: Where) -> RepoError:
    versions = " or ".join(map(str, dependency.allowed))
    return RepoError(
        f"the lock does not fit {where.title}: it has no {dependency.name} {versions}".rstrip(),
        code="adopted-lock-unfit",
        file=lock.path,
        remedy=_UNFIT,
    )


def _fits_python(package: LockedPackage, where: Where) -> bool:
    return not package.python or any(one.contains(where.python, prereleases=True) for one in package.python)


def _wheel(package: LockedPackage, lock: LockedSet, where: Where) -> PackageWheel | str:
    """The wheel of the lock that fits best, or one of :data:`_SOURCE` and :data:`_HASHES`."""
    if package.elsewhere:
        trouble = f"{package.name} comes from {redact(package.elsewhere)}, which the project does not ask for"
        _refuse(lock, package, trouble, "name it among the project's own dependencies, too", where)
    if not package.version:
        _refuse(lock, package, f"{package.name} has no version", "lock again on such a machine", where)
    if not package.files:
        _refuse(lock, package, f"{package.name} has no sha256", "lock again with hashes", where)
    if not all(file.filename for file in package.files):
        return _HASHES
    wheels = [
        PackageWheel(name=file.filename, path=file.filename, hashes={"sha256": file.sha256})
        for file in package.files
        if file.filename.endswith(".whl")
    ]
    wheel = best_wheel(wheels, where.tags)
    if wheel is None and len(wheels) == len(package.files):
        trouble = f"{package.name} {package.version} has no file for {where.title}"
        _refuse(lock, package, trouble, "lock a version that is published for it", where)
    return wheel or _SOURCE


def _pin(wheel: PackageWheel | str, place: Requirement, offered: Package | None, where: Where) -> Pin | None:
    """The wheel in the index; None when there is none, and only hashes are known."""
    if isinstance(wheel, PackageWheel):
        return find(wheel, place, offered, where)
    if offered is None:
        return None
    return choose(
        offered, where.tags, platform=where.platform, environment=where.uv.environment, hashed=(place,)
    )


def _refuse(lock: LockedSet, package: LockedPackage, trouble: str, remedy: str, where: Where) -> NoReturn:
    raise RepoError(
        trouble if where.title in trouble else f"{trouble} ({where.title})",
        code="adopted-lock-unfit" if remedy == _UNFIT else "unsupported-package",
        file=lock.path,
        line=package.line,
        remedy=remedy,
    )
