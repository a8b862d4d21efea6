"""One requirement as PEP 508 writes it, limited to what comes from an index."""

from __future__ import annotations

from dataclasses import dataclass

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as _Requirement
from packaging.utils import canonicalize_name

__all__ = ["Parsed", "canonical_name", "parse_requirement"]

_LONGEST = 2000
# "a.tar.gz" is a valid name, but to every installer it is a file.
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True, slots=True)
class Parsed:
    """A requirement's text, canonical name, extras, and the version when it is pinned by ``==``."""

    text: str
    name: str
    extras: frozenset[str]
    pin: str | None


def canonical_name(name: str) -> str:
    """``name`` in the one form of PEP 503, which also fits extras and groups."""
    return str(canonicalize_name(name))


def parse_requirement(text: str) -> Parsed | None:
    """``text`` as a requirement on an index, or None when it is not one (a URL, a path, a mistake)."""
    text = " ".join(text.split())
    if len(text) > _LONGEST:
        return None
    try:
        requirement = _Requirement(text)
    except (InvalidRequirement, ValueError, RecursionError):
        return None
    # "===" takes any text for a version, a URL as well.
    if requirement.url or "//" in text or requirement.name.lower().endswith(_ARCHIVES):
        return None
    specifiers = list(requirement.specifier)
    pinned = len(specifiers) == 1 and specifiers[0].operator in ("==", "===")
    pin = specifiers[0].version if pinned and not specifiers[0].version.endswith(".*") else None
    extras = frozenset(map(canonical_name, requirement.extras))
    return Parsed(text, canonical_name(requirement.name), extras, pin)
