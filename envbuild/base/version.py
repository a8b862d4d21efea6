"""Debian version numbers in order (Debian Policy 5.6.12)."""

from __future__ import annotations

import re
from functools import total_ordering
from itertools import zip_longest

__all__ = ["Version", "satisfies"]

_PARTS = re.compile(r"(\D*)(\d*)", re.ASCII)


def _weight(character: str) -> int:
    """``~`` sorts before the end of the string (0), letters before everything else."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 0x100


def _key(text: str) -> list[tuple[list[int], int]]:
    """Alternating non-digit and digit parts; the non-digit ones end in 0, which is what an end weighs."""
    return [([*map(_weight, letters), 0], int(digits or 0)) for letters, digits in _PARTS.findall(text)]


def _compare(left: str, right: str) -> int:
    for one, other in zip_longest(_key(left), _key(right), fillvalue=([0], 0)):
        if one != other:
            return -1 if one < other else 1
    return 0


@total_ordering
class Version:
    """``[epoch:]upstream[-revision]``.

    >>> Version("1.0~rc1") < Version("1.0") < Version("1.0+b1") < Version("1.0.1")
    True
    >>> Version("1:0.9") > Version("2.0"), Version("1.10") > Version("1.9")
    (True, True)
    >>> Version("1.0") == Version("0:1.0-0")
    True
    >>> Version("3.11.2-6+deb12u6").upstream
    '3.11.2'
    """

    __slots__ = ("epoch", "revision", "text", "upstream")

    def __init__(self, text: str) -> None:
        self.text = text
        epoch, colon, rest = text.partition(":")
        if not colon:
            epoch, rest = "0", text
        self.epoch = int(epoch) if epoch.isdecimal() else 0
        self.upstream, _, self.revision = rest.rpartition("-") if "-" in rest else (rest, "", "")

    def _ordering(self, other: Version) -> int:
        if self.epoch != other.epoch:
            return -1 if self.epoch < other.epoch else 1
        return _compare(self.upstream, other.upstream) or _compare(self.revision, other.revision)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._ordering(other) == 0

    def __lt__(self, other: Version) -> bool:
        return self._ordering(other) < 0

    def __hash__(self) -> int:
        return hash(self.epoch)

    def __repr__(self) -> str:
        return f"Version({self.text!r})"


def satisfies(version: str, relation: str, wanted: str) -> bool:
    """Whether ``version`` stands in ``relation`` (``<<``, ``<=``, ``=``, ``>=``, ``>>``) to ``wanted``.

    >>> satisfies("2.36-9+deb12u10", ">=", "2.34"), satisfies("2.36", "<<", "2.36")
    (True, False)
    """
    one, other = Version(version), Version(wanted)
    match relation:
        case "<<":
            return one < other
        case "<=":
            return one <= other
        case "=":
            return one == other
        case ">=":
            return one >= other
        case ">>":
            return one > other
    raise ValueError(f"unknown relation {relation!r}")
