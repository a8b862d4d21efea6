"""How the contents of two files differ, in one sentence for people."""

from __future__ import annotations

from envbuild.source.text import printable, redact

__all__ = ["LOOKED_AT", "explain"]

LOOKED_AT = 16 << 20  # bytes of each file; beyond them nothing is explained

_ELF = b"\x7fELF"
_HEADER = 16  # of a .pyc file (PEP 552)
_LONGEST_LINE = 100


def explain(name: str, expected: bytes, found: bytes) -> str:
    """How ``found`` differs from ``expected``, of both of which at most :data:`LOOKED_AT` bytes are given.

    >>> explain("a.py", b"import os\\nx = 1\\n", b"import os\\nx = 2\\n")
    "line 2 is 'x = 2' instead of 'x = 1'"

    Parameters:
        name: the file's path.
    """
    if expected == found:
        return f"the first {LOOKED_AT >> 20} MiB are the same"
    if name.endswith(".pyc"):
        return _bytecode(expected, found)
    place = f"from byte {_first_difference(expected, found)} on"
    size = f", {len(found)} bytes instead of {len(expected)}" if len(expected) != len(found) else ""
    if _ELF in (expected[:4], found[:4]):
        kind = "a program or library (ELF)" if found[:4] == _ELF else "no ELF file any more"
        return f"{kind}, {place}{size}"
    lines = [_lines(data) for data in (expected, found)]
    if lines[0] is None or lines[1] is None:
        return f"binary, {place}{size}"
    return _text(lines[0], lines[1])


def _first_difference(one: bytes | str, two: bytes | str) -> int:
    low, high = 0, min(len(one), len(two))
    while low < high:  # the same up to `low`, and not beyond `high`
        middle = (low + high + 1) // 2
        if one[low:middle] == two[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _bytecode(expected: bytes, found: bytes) -> str:
    if len(found) < _HEADER or expected[:4] != found[:4]:
        return "bytecode of another Python, or none"
    if expected[4:8] != found[4:8]:
        return "bytecode that is checked against its source in another way"
    if expected[8:_HEADER] != found[8:_HEADER]:
        return "bytecode of another source"
    return f"bytecode, the code itself from byte {_first_difference(expected, found)} on"


def _lines(data: bytes) -> list[str] | None:
    """None for what is no text."""
    if b"\0" in data:
        return None
    try:
        return data.decode().split("\n")
    except UnicodeDecodeError as error:
        is_cut = len(data) == LOOKED_AT and error.start > len(data) - 4  # in the middle of a character
        return data[: error.start].decode().split("\n") if is_cut else None


def _text(expected: list[str], found: list[str]) -> str:
    number = next(
        (at for at, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]),
        min(len(expected), len(found)),
    )
    if number >= len(found) or number >= len(expected):
        state = "missing" if number >= len(found) else "extra"
        line = max(expected, found, key=len)[number]
        return (
            f"line {number + 1}, {_quoted(line, 0)}, is {state}" if line else f"the last line end is {state}"
        )
    one, two = expected[number], found[number]
    at = _first_difference(one, two)
    return f"line {number + 1} is {_quoted(two, at)} instead of {_quoted(one, at)}"


def _quoted(line: str, at: int) -> str:
    """``line``, or of a long one what is around the character ``at``."""
    start = max(0, at - _LONGEST_LINE // 2) if len(line) > _LONGEST_LINE else 0
    shown = printable(redact(line[start : start + _LONGEST_LINE]))
    return f"'{'…' if start else ''}{shown}{'…' if start + _LONGEST_LINE < len(line) else ''}'"
