"""Version constraints as Poetry writes them, as PEP 440 specifier sets.

Format: https://python-poetry.org/docs/dependency-specification/#version-constraints
"""

from __future__ import annotations

import re

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

__all__ = ["alternatives"]

_LONGEST = 500
_OR = re.compile(r"\s*\|\|?\s*")
_SEPARATOR = re.compile(r"\s*,\s*|\s+")
_PART = re.compile(r"(\^|~=|~|>=|<=|!=|<>|===?|=|>|<)?(.+)", re.DOTALL)
_ANY = frozenset({"*", "x", "X", "*.*", "x.x"})
_WILDCARD = re.compile(r"(\d+(?:\.\d+)*)\.[*xX](?:\.[*xX])*")


def alternatives(constraint: str) -> tuple[SpecifierSet, ...]:
    """The specifier sets of which one has to allow a version.

    >>> [str(one) for one in alternatives("^1.2")]
    ['<2,>=1.2']
    >>> [str(one) for one in alternatives("~2.7 || >=3.6,!=3.7.*")]
    ['<2.8,>=2.7', '!=3.7.*,>=3.6']
    >>> [str(one) for one in alternatives("*")]
    ['']

    Raises:
        ValueError: this is not a constraint.
    """
    if len(constraint) > _LONGEST:
        raise ValueError("too long for a version constraint")
    return tuple(_specifiers(part) for part in _OR.split(constraint.strip()))


def _specifiers(text: str) -> SpecifierSet:
    # "> 1.0" is one part, "> 1.0 < 2.0" are two.
    text = re.sub(r"([\^~<>=!])\s+", r"\1", text.strip())
    parts: list[str] = []
    for part in _SEPARATOR.split(text):
        parts += _specifier(part)
    try:
        return SpecifierSet(",".join(parts))
    except InvalidSpecifier as error:
        raise ValueError(f"{text!r} is not a version constraint") from error


def _specifier(part: str) -> list[str]:
    match = _PART.fullmatch(part)
    if match is None:
        raise ValueError(f"{part!r} is not a version constraint")
    operator, version = match[1] or "==", match[2]
    if version in _ANY and operator in ("==", "=", ">=", "^", "~"):
        return []
    if wildcard := _WILDCARD.fullmatch(version):
        if operator not in ("==", "=", "!="):
            operator, version = operator, wildcard[1]
        else:
            version = f"{wildcard[1]}.*"
    if operator in ("^", "~"):
        return _up_to_next(operator, version)
    return [{"=": "==", "<>": "!="}.get(operator, operator) + version]


def _up_to_next(operator: str, text: str) -> list[str]:
    """``^`` allows what does not change the leftmost part that is not zero, ``~`` what keeps the minor."""
    try:
        version = Version(text)
    except InvalidVersion as error:
        raise ValueError(f"{text!r} is not a version") from error
    release = version.release
    if operator == "~":
        kept = min(len(release), 2)
    else:
        kept = next((position for position, part in enumerate(release, 1) if part), len(release))
    following = [*release[: kept - 1], release[kept - 1] + 1]
    epoch = f"{version.epoch}!" if version.epoch else ""
    return [f">={text}", f"<{epoch}{'.'.join(map(str, following))}"]
