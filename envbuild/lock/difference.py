"""What is different between two locks: everything, and nothing else. Pure.

Two locks that are not equal have at least one change; the changes from the second to the first are those from
the first to the second, the other way round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from envbuild.lock.model import Artifact, BaseImage, Built, CondaPackage, Deb, Lock, Wheel

__all__ = ["PACKAGES", "Change", "ChangeKind", "lock_difference"]

ChangeKind = Literal[
    "setting", "platform", "kernel", "variable", "wheel", "conda", "apt", "built", "server", "base", "detail"
]
# The kinds that are about packages: of the environment, of the server, of the operating system.
PACKAGES: frozenset[ChangeKind] = frozenset({"wheel", "conda", "apt", "server", "base"})

_ORDER: Mapping[str, int] = {kind: number for number, kind in enumerate(get_args(ChangeKind))}
_DIGITS = 12  # of digests that only have to look different
_Package = Wheel | CondaPackage | Deb | Built

_LOCK_FIELDS_ELSEWHERE = frozenset({"base", "targets", "kernels", "other_kernels", "variables"})
_BASE_FIELDS_ELSEWHERE = frozenset({"debs", "server"})
_NAMES = {
    "display_name": "display name",
    "cutoff": "locked",
    "inputs": "what was locked",
    "recipe": "packing recipe",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that one lock has and the other has not, or has otherwise.

    ``name`` is what it is called (a package, a kernel, a variable, a setting); ``before`` and ``after`` are
    what it is in the first and in the second lock, None where it is not there. ``platforms`` are those for
    which this holds, empty when it is no question of platforms. Changes of kind ``detail`` change no file of
    a package: its layer, its address, whether it was asked for.
    """

    kind: ChangeKind
    name: str
    before: str | None
    after: str | None
    platforms: tuple[str, ...] = ()

    def _place(self) -> tuple[int, str, str, str, tuple[str, ...]]:
        return (_ORDER[self.kind], self.name, self.before or "", self.after or "", self.platforms)


def lock_difference(before: Lock, after: Lock, platforms: Sequence[str] = ()) -> tuple[Change, ...]:
    """How ``after`` differs from ``before``, by kind and name; empty when they are equal.

    Parameters:
        platforms: look at these only; all that both locks have when it is empty.
    """
    changes = [
        *_records("setting", before, after, _LOCK_FIELDS_ELSEWHERE, _setting),
        *_records("setting", before.base, after.base, _BASE_FIELDS_ELSEWHERE, _base_setting),
        *_pairs("kernel", _kernels(before), _kernels(after)),
        *_pairs("variable", dict(before.variables), dict(after.variables)),
        *_pairs("platform", _parts(before, platforms), _parts(after, platforms)),
    ]
    one, two = _sections(before, platforms), _sections(after, platforms)
    for kind, platform in one.keys() & two.keys():
        section = kind, platform
        changes += _packages(kind, one[section], two[section], (platform,))
    return _merged(changes)


_Sections = Mapping[tuple[ChangeKind, str], Iterable[_Package]]


def _sections(lock: Lock, platforms: Sequence[str]) -> _Sections:
    """All packages of ``lock``, by what they are for and for which platform."""
    sections: dict[tuple[ChangeKind, str], Iterable[_Package]] = {}
    for target in lock.targets:
        sections["wheel", target.platform] = target.wheels
        sections["conda", target.platform] = target.conda
        sections["apt", target.platform] = target.apt
        sections["built", target.platform] = target.built
    for platform, server in lock.base.server.items():
        sections["server", platform] = server
    for platform, debs in lock.base.debs.items():
        sections["base", platform] = debs
    wanted = platforms or {platform for _, platform in sections}
    return {section: packages for section, packages in sections.items() if section[1] in wanted}


def _parts(lock: Lock, platforms: Sequence[str]) -> dict[str, str]:
    """What is locked for each platform. The packages of a part that only one lock has are not listed."""
    names = {"wheel": "environment", "server": "server", "base": "base"}
    parts: dict[str, set[str]] = {}
    for kind, platform in _sections(lock, platforms):
        parts.setdefault(platform, set()).update({names[kind]} if kind in names else ())
    return {platform: ", ".join(sorted(of)) for platform, of in parts.items()}


def _setting(name: str) -> str:
    return _NAMES.get(name, name.replace("_", " "))


def _base_setting(name: str) -> str:
    return {"python": "Python", "recipe": "base", "date": "base locked", "image": "base image"}.get(
        name, f"base {name.replace('_', ' ')}"
    )


def _records(
    kind: ChangeKind, one: Any, two: Any, elsewhere: frozenset[str], label: Callable[[str], str]
) -> Iterator[Change]:
    """The fields of two records of one class that differ, whatever the class will have one day."""
    for field in fields(one):
        first, second = getattr(one, field.name), getattr(two, field.name)
        if field.name not in elsewhere and first != second:
            yield Change(kind, label(field.name), _text(first), _text(second))


def _text(value: Any) -> str:
    if isinstance(value, BaseImage):
        # Its digest follows from the rest of it, unless somebody has edited the lock.
        whole = hashlib.sha256(repr(sorted(value.platforms.items())).encode()).hexdigest()
        return f"{value.reference} ({value.digest[: len('sha256:') + _DIGITS]}, locked {whole[:_DIGITS]})"
    if isinstance(value, Artifact):
        return f"{value.source} {value.path or value.filename} ({value.size} bytes)"
    if isinstance(value, tuple):
        return ", ".join(map(_text, value)) or "none"
    return str(value) or "none"


def _kernels(lock: Lock) -> dict[str, str]:
    languages: dict[str, list[str]] = {}
    for name, language in [*((name, "python") for name in lock.kernels), *lock.other_kernels]:
        languages.setdefault(name, []).append(language)
    return {name: ", ".join(several) for name, several in languages.items()}


def _pairs(kind: ChangeKind, one: Mapping[str, str], two: Mapping[str, str]) -> Iterator[Change]:
    for name in sorted(one.keys() | two.keys()):
        if one.get(name) != two.get(name):
            yield Change(kind, name, one.get(name), two.get(name))


def _packages(
    kind: ChangeKind, before: Iterable[_Package], after: Iterable[_Package], platforms: tuple[str, ...]
) -> Iterator[Change]:
    one = {package.name: package for package in before}
    two = {package.name: package for package in after}
    for name in sorted(one.keys() | two.keys()):
        first, second = one.get(name), two.get(name)
        if first is None or second is None:
            old, new = (_version(package) if package else None for package in (first, second))
            yield Change(kind, name, old, new, platforms)
        elif _files(first) == _files(second):
            for change in _records("detail", first, second, frozenset(), f"{name}: {{}}".format):
                yield replace(change, platforms=platforms)
        else:
            yield _changed(kind, first, second, platforms)


def _changed(kind: ChangeKind, one: _Package, two: _Package, platforms: tuple[str, ...]) -> Change:
    first, second = _version(one), _version(two)
    if first == second:  # rebuilt under the same version
        first, second = (f"{_version(package)} (file {_files(package)[:_DIGITS]})" for package in (one, two))
    return Change(kind, one.name, first, second, platforms)


def _version(package: _Package) -> str:
    if isinstance(package, CondaPackage):
        return f"{package.version} {package.build}"
    if isinstance(package, Built):
        commit = f" at {package.commit[:_DIGITS]}" if package.commit else ""
        return f"{package.kind} {package.location}".rstrip() + commit
    return package.version


def _files(package: _Package) -> str:
    """Equal for packages whose files are the same: the sha256, or that of all that it is built from."""
    if isinstance(package, Built):
        return hashlib.sha256(repr(package).encode()).hexdigest()
    return package.artifact.sha256


def _merged(changes: Iterable[Change]) -> tuple[Change, ...]:
    """``changes`` sorted, with those that are the same on several platforms as one."""
    platforms: dict[Change, set[str]] = {}
    for change in changes:
        platforms.setdefault(replace(change, platforms=()), set()).update(change.platforms)
    found = (replace(change, platforms=tuple(sorted(of))) for change, of in platforms.items())
    return tuple(sorted(found, key=Change._place))
