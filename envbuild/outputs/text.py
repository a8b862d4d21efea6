"""Whether two texts are the same, but for what may differ; and if not, where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import unified_diff

from envbuild.outputs.sanitize import Replacement
from envbuild.outputs.tokens import KINDS, Token, Tolerance, Window, split_tokens
from envbuild.source.text import clean, quote

__all__ = ["TextRules", "compare_texts", "diff_lines"]

_SPACE = re.compile(r"[ \t\u00a0]+")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# What %timeit remarks when the machine was busy.
_TIMEIT = re.compile(r"^The slowest run took \d[^\n]*\n?", re.MULTILINE)
_LINE_END = re.compile(r"[ \t]+$", re.MULTILINE)
# How long finding the lines that differ takes grows with the square.
_LONGEST_DIFF = 2_000
_MOST_LINES = 400
_CONTEXT = 2


@dataclass(frozen=True, slots=True)
class TextRules:
    """What may differ between two texts.

    ``kinds`` are those of :mod:`.tokens` that are looked for; ``replacements`` are the user's and are made
    first; ``window`` is when the new text was made.
    """

    window: Window
    tolerance: Tolerance = field(default_factory=Tolerance)
    kinds: tuple[str, ...] = KINDS
    replacements: tuple[Replacement, ...] = ()


def compare_texts(stored: str, new: str, rules: TextRules) -> str | None:
    """What differs, in a few words; None when the two are the same.

    Spaces count as one space, because columns are as wide as the numbers in them. At the ends of lines they
    do not count, nor do empty lines at the end of the text and a terminal's colours.
    """
    if stored == new:
        return None
    for replacement in rules.replacements:
        stored, new = replacement.apply(stored), replacement.apply(new)
    if "duration" in rules.kinds:
        stored, new = _TIMEIT.sub("", stored), _TIMEIT.sub("", new)
    stored, new = _normal(stored), _normal(new)
    if stored == new:
        return None
    before, after = stored.split("\n"), new.split("\n")
    if len(before) != len(after):
        return _first_line(before, after, rules)
    wrong: list[tuple[Token, Token]] = []
    for line, new_line in zip(before, after, strict=True):
        if line != new_line:
            found = _wrong_tokens(line, new_line, rules)
            if found is None:
                return _first_line(before, after, rules)
            wrong += found
    if not wrong:
        return None
    if all(old.kind == now.kind == "number" for old, now in wrong):
        return _numbers([(old.text, now.text) for old, now in wrong])
    old, now = wrong[0]
    return f"{quote(now.text)} instead of {quote(old.text)}"


def _wrong_tokens(stored: str, new: str, rules: TextRules) -> list[tuple[Token, Token]] | None:
    """The tokens of a line that are not the same; None when something else is not."""
    parts, tokens = split_tokens(stored, rules.kinds)
    new_parts, new_tokens = split_tokens(new, rules.kinds)
    if len(tokens) != len(new_tokens) or not all(map(_same_literal, parts, new_parts)):
        return None
    pairs = zip(tokens, new_tokens, strict=True)
    return [(old, now) for old, now in pairs if not old.same_as(now, rules.tolerance, rules.window)]


def diff_lines(stored: str, new: str, rules: TextRules) -> list[str]:
    """The lines that differ, with ``-`` (stored), ``+`` (new) or a space before them, and a few around them.

    A new line that is the same but for what may differ is shown as it is stored.
    """
    before, after = (_COLOUR.sub("", text).rstrip("\n").split("\n") for text in (stored, new))
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    parts = [lines[max(0, start - _CONTEXT) : len(lines) - end + _CONTEXT] for lines in (before, after)]
    more = max(0, *(len(part) - _LONGEST_DIFF for part in parts))
    before, after = (part[:_LONGEST_DIFF] for part in parts)
    if len(before) == len(after):
        after = [
            old if compare_texts(old, now, rules) is None else now
            for old, now in zip(before, after, strict=True)
        ]
    # The first three lines name files and the first place.
    lines = [
        "…" if line.startswith("@@") else line
        for line in [*unified_diff(before, after, n=_CONTEXT, lineterm="")][3:]
    ]
    more += len(lines[_MOST_LINES:])
    return [*lines[:_MOST_LINES], *([f"… and {more} more lines"] if more else [])]


def _common(before: Sequence[str], after: Sequence[str]) -> int:
    """How many lines, or characters, at the beginning are the same."""
    pairs = enumerate(zip(before, after, strict=False))
    return next((index for index, pair in pairs if pair[0] != pair[1]), min(len(before), len(after)))


def _normal(text: str) -> str:
    return _LINE_END.sub("", _SPACE.sub(" ", _COLOUR.sub("", text))).rstrip("\n")


def _same_literal(stored: str, new: str) -> bool:
    # Beside a number, padding to the width of a column may be there or not: "[1. 2.5]", "[ 1.00000001 2.5]".
    return stored == new or stored.strip(" ") == new.strip(" ")


def _numbers(pairs: Sequence[tuple[str, str]]) -> str:
    stored, new = max(pairs, key=lambda pair: _distance(*pair))
    distance = _distance(stored, new)
    more = f", and {len(pairs) - 1} more" if len(pairs) > 1 else ""
    return f"number {new} instead of {stored} ({_size(distance)}{more})"


def _size(distance: float) -> str:
    if distance == float("inf"):
        return "from zero, or out of range"
    percent = 100 * distance
    if percent >= 1000:
        return f"{percent:,.0f} %" if percent < 1e9 else f"{percent:.0e} %"
    return f"{distance:.2g} relative" if distance < 1e-4 else f"{percent:.3g} %"


def _distance(stored: str, new: str) -> float:
    """Relative to the larger stored one; infinite when there is nothing to relate to."""
    first, second = (float(text.replace("−", "-")) for text in (stored, new))
    if not first or abs(first) == float("inf") or abs(second) == float("inf"):
        return float("inf")
    return abs(first - second) / abs(first)


def _first_line(before: Sequence[str], after: Sequence[str], rules: TextRules) -> str:
    number = next(
        (
            index
            for index, (old, now) in enumerate(zip(before, after, strict=False))
            if old != now and _wrong_tokens(old, now, rules) != []
        ),
        min(len(before), len(after)),
    )
    where = f"line {number + 1}: " if max(len(before), len(after)) > 1 else ""
    if number >= len(before):
        return f"{where}{_around(after[number], '')} was added"
    if number >= len(after):
        return f"{where}{_around(before[number], '')} is missing"
    return (
        f"{where}{_around(after[number], before[number])} instead of {_around(before[number], after[number])}"
    )


def _around(line: str, other: str) -> str:
    """``line`` in quotes, cut to where it begins to differ from ``other``."""
    start = 0
    if len(line) > 60 and other:
        start = max(0, _common(line, other) - 20)
    text = clean(line[start : start + 60])
    return f"'{'…' * (start > 0)}{text}{'…' * (len(line) > start + 60)}'"
