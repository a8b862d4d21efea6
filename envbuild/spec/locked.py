"""What the locks of other tools have in common: exact packages with files, hashes and dependencies.

The readers of single formats (``poetry_lock.py``, ``pdm_lock.py``, ``pipfile_lock.py``) make these; which of
the packages a target gets is decided by :mod:`envbuild.lock.adopt`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from packaging.markers import Marker
from packaging.specifiers import SpecifierSet

from envbuild.spec.model import PythonRequest
from envbuild.spec.pep508 import canonical_name

__all__ = ["Dependency", "LockedFile", "LockedPackage", "LockedSet", "applies"]

_EXTRA_IS = re.compile(r'(?:extra (==|!=) "([^"]*)"|"([^"]*)" (==|!=) extra)')


@dataclass(frozen=True, slots=True)
class LockedFile:
    """One file of a locked package. ``filename`` is "" in locks that list only hashes."""

    filename: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Dependency:
    """What a locked package needs: one of the versions that one of ``allowed`` contains.

    ``when`` are extras of the package itself that must be asked for to need this.
    """

    name: str
    allowed: tuple[SpecifierSet, ...] = ()
    extras: frozenset[str] = frozenset()
    marker: str = ""
    when: frozenset[str] = frozenset()

    def allows(self, version: str) -> bool:
        """Whether ``version`` is one of those that satisfy this."""
        return not self.allowed or any(one.contains(version, prereleases=True) for one in self.allowed)


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One version of a package in a lock.

    ``python`` are the versions of Python it is for (one of the sets). ``elsewhere`` says for people where it
    comes from when that is no index (``git+https://...``), ``commit`` is the git commit there. ``index`` is
    the address of the index that the lock says it comes from, if it does. ``groups`` are the markers under
    which each group of the project needs it, None when the lock does not tell; then it follows from the
    dependencies of the others.
    """

    name: str
    version: str
    line: int | None
    files: tuple[LockedFile, ...] = ()
    python: tuple[SpecifierSet, ...] = ()
    elsewhere: str = ""
    commit: str = ""
    index: str = ""
    dependencies: tuple[Dependency, ...] = ()
    groups: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class LockedSet:
    """A whole lock: ``path`` is for people, ``python`` is what the project as a whole wants.

    ``main`` names the group of the project's own dependencies (``main``, ``default``). ``platforms`` are
    those the lock was made for, as its tool names them; none means all. ``content_hash`` tells
    which project was locked, ``extras_are_groups`` that an extra is a group of its packages, too.
    """

    path: str
    packages: tuple[LockedPackage, ...]
    python: PythonRequest | None = None
    main: str = "main"
    platforms: tuple[str, ...] = ()
    content_hash: str = ""
    extras_are_groups: bool = False

    @property
    def names(self) -> frozenset[str]:
        """The canonical names of the packages."""
        return frozenset(package.name for package in self.packages)


def applies(marker: str, environment: Mapping[str, str], extras: frozenset[str] = frozenset()) -> bool:
    """Whether ``marker`` ("" for none) holds where ``extras`` are asked for.

    PEP 508 knows one ``extra`` at a time. Locks are about several: there ``extra == "x"`` means that x is
    one of those asked for (as PEP 751 has it).
    """
    if not marker:
        return True
    if "extra" not in marker:
        return _marker(marker).evaluate(dict(environment))
    return _of_lock(marker).evaluate({**environment, "extras": set(extras)}, context="lock_file")


@lru_cache(maxsize=4096)
def _marker(text: str) -> Marker:
    return Marker(text)


@lru_cache(maxsize=4096)
def _of_lock(text: str) -> Marker:
    def rewritten(match: re.Match[str]) -> str:
        operator, value = match[1] or match[4], match[2] if match[1] else match[3]
        return f'"{canonical_name(value)}" {"in" if operator == "==" else "not in"} extras'

    return Marker(_EXTRA_IS.sub(rewritten, str(Marker(text))))
