"""The parts of a text that may differ from run to run, and how much.

A text is cut into literal parts and tokens. Two texts are the same when their literal parts are, and every
token is the same as the one in its place:

==========  ====================================================  =========================================
kind        for example                                           is the same as
==========  ====================================================  =========================================
number      ``0.59``, ``1e-7``                                    a number within the tolerance
moment      ``2026-11-21 15:50``, ``Sat Nov 21 15:50:45 2026``    any moment, if the new one is "now"
duration    ``Wall time: 3.2 s``, ``[00:03<00:00, 33it/s]``       any duration
address     ``0x7f3a5c0d2e50``                                    any address
unique      UUIDs, generated ids in HTML and SVG, ``In [3]``      any of them
temporary   ``/tmp/tmpa1b2c3/x``, ``/tmp/ipykernel_7/1.py``       any temporary name
path        ``/home/ada/work/a.csv``, ``C:\\work\\a.csv``           a path with the same last part
==========  ====================================================  =========================================

Whole numbers are literal: a count that is off by one is another count. So are dates that are not "now"
(the time of the run): they are data. Patterns are linear in the length of the text, which is a stranger's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

__all__ = ["KINDS", "Token", "Tolerance", "Window", "split_tokens"]

_MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:[ ]?[aApP][mM]\b)?"
_ZONE = r"(?:Z\b|[ ]?[+-]\d\d:?\d\d\b|[ ][A-Z]{3,4}\b)?"
_UNIT = r"(?:ns|[µμu]s|ms|s|sec|secs|seconds?|min|mins|minutes?|h|hours?)\b"
_AMOUNT = rf"\d{{1,12}}(?:\.\d{{1,12}})?[ ]?{_UNIT}"
_SEGMENT = r"[^\s/\\:'\"<>|(),;\[\]{}]{1,200}"

_PATTERNS = {
    "unique": r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
    r"|\bT_[0-9a-f]{5}(?=_|\b)"  # pandas' styled tables
    r"|(?:(?<=\bid=\")|(?<=\bhref=\"#)|(?<=\burl\(#))[a-zA-Z]{0,12}[-_]?[0-9a-f]{8,40}\b"  # matplotlib's SVG
    r"|<ipython-input-\d{1,9}-[0-9a-f]{6,40}>"
    r"|\b(?:Cell[ ])?(?:In|Out)[ ]?\[\d{1,9}\]",
    "address": r"(?<=at[ ])0x[0-9a-fA-F]{4,16}\b|\b0x[0-9a-fA-F]{9,16}\b",
    "temporary": rf"(?<![\w/:.<])(?:/private)?(?:/var)?/(?:tmp|folders)/{_SEGMENT}(?:/{_SEGMENT}){{0,40}}",
    "path": rf"(?<![\w/:.<])(?:/{_SEGMENT}){{2,60}}|\b[A-Za-z]:\\{_SEGMENT}(?:\\{_SEGMENT}){{0,60}}",
    "duration": rf"(?<=total:[ ]){_AMOUNT}|(?<=user[ ]){_AMOUNT}|(?<=sys:[ ]){_AMOUNT}"
    rf"|(?<=[Ww]all[ ]time:[ ]){_AMOUNT}|{_AMOUNT}[ ](?:±|\+-)[ ]{_AMOUNT}[ ]per[ ]loop"
    r"(?:[ ]\([^)\n]{1,80}\))?"
    r"|\[(?:\d+:)?\d\d:\d\d<[^\]\n]{1,60}\]"
    rf"|(?i:(?<=\btook[ ])|(?<=\belapsed[ ])|(?<=\belapsed:[ ])|(?<=\belapsed[ ]time:[ ])|(?<=\bruntime:[ ])"
    rf"|(?<=\bfinished[ ]in[ ])|(?<=\bcompleted[ ]in[ ])|(?<=\bdone[ ]in[ ])|(?<=\bran[ ]in[ ])){_AMOUNT}",
    "moment": rf"\b\d{{4}}-\d\d-\d\d(?:[T ]{_CLOCK}{_ZONE})?"
    rf"|\b\d{{1,4}}/\d{{1,2}}/\d{{1,4}}\b(?:,?[ ]{_CLOCK}{_ZONE})?"
    rf"|(?i:\b(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{{0,6}},?[ ]+)?"
    rf"(?:{_MONTHS}[ ]+\d{{1,2}},?|\d{{1,2}}\.?[ ]{_MONTHS},?)"
    rf"(?:[ ]{_CLOCK}(?:[ ][A-Z]{{3,4}})?)?[ ]\d{{4}}\b"
    rf"(?:[ ]{_CLOCK}{_ZONE})?)"
    r"|\bdatetime\.date(?:time)?\(\d{4}(?:,[ ]?\d{1,6}){2,6}"
    rf"|(?<![\w:.]){_CLOCK}(?![\w:])",
    "number": r"(?<![\w.])[-+−]?(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?(?!\d|\.\d)"
    r"|(?<![\w.])[-+−]?\d+[eE][-+]?\d+(?!\w|\.\d)",
}

KINDS = tuple(_PATTERNS)
_MONTH_NUMBERS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_QUARTER_HOUR = 900
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far apart numbers may be: ``absolute``, or ``relative`` times the larger one if that is more."""

    relative: float = 1e-6
    absolute: float = 0.0

    def allows(self, first: float, second: float) -> bool:
        """Whether the two are the same; not-a-number is the same as itself."""
        if math.isnan(first) or math.isnan(second):
            return math.isnan(first) and math.isnan(second)
        return math.isclose(first, second, rel_tol=self.relative, abs_tol=self.absolute)


@dataclass(frozen=True, slots=True)
class Window:
    """When the new outputs were made (both UTC)."""

    started: datetime
    ended: datetime

    def has(self, text: str) -> bool:
        """Whether ``text``, a token of the kind ``moment``, can be a moment of the run, in any time zone.

        >>> started = datetime(2026, 11, 21, 15, 50, tzinfo=UTC)
        >>> window = Window(started, started + timedelta(minutes=2))
        >>> [window.has(text) for text in ("2026-11-21 23:59", "21 Nov 2026", "17:51:03")]
        [True, True, True]
        >>> [window.has(text) for text in ("2024-01-01", "12:00")]
        [False, False]
        """
        days = _days(text)
        if days is not None:
            first, last = (self.started - _DAY).date(), (self.ended + _DAY).date()
            return any(first <= day.date() <= last for day in days)
        hours, minutes, *rest = (
            float(part.replace(",", ".")) for part in re.findall(r"\d+(?:[.,]\d+)?", text)
        )
        if self.ended - self.started >= timedelta(seconds=_QUARTER_HOUR):
            return True
        # Time zones differ by whole quarters of an hour. What is shown is cut off: to a second, or a minute.
        precision = 1.0 if rest else 60.0
        second = (hours * 3600 + minutes * 60 + sum(rest)) % _QUARTER_HOUR
        since = (second + precision - self.started.timestamp()) % _QUARTER_HOUR
        return since <= (self.ended - self.started).total_seconds() + precision


@dataclass(frozen=True, slots=True)
class Token:
    """A part of a text that may differ: its ``kind`` and what it is."""

    kind: str
    text: str

    def same_as(self, new: Token, tolerance: Tolerance, window: Window) -> bool:
        """Whether ``new``, of another run, may be in the place of this one."""
        if self.text == new.text:
            return True
        if self.kind != new.kind:
            return False
        match self.kind:
            case "number":
                first, second = self.number, new.number
                return first is not None and second is not None and tolerance.allows(first, second)
            case "moment":
                return window.has(new.text)
            case "path":
                return _last_part(self.text) == _last_part(new.text)
            case _:
                return True

    @property
    def number(self) -> float | None:
        """The value of a number; None for one that is larger or smaller than floating point has."""
        text = self.text.replace("−", "-")
        value = float(text)
        if math.isinf(value) or (not value and re.search(r"[1-9]", re.split("[eE]", text)[0])):
            return None
        return value


def split_tokens(text: str, kinds: Sequence[str] = KINDS) -> tuple[list[str], list[Token]]:
    """``(literal parts, tokens)`` of ``text``; there is one part more than there are tokens.

    Parameters:
        kinds: those that are looked for, of :data:`KINDS`.

    >>> split_tokens("r = 0.5 m, n = 3")
    (['r = ', ' m, n = 3'], [Token(kind='number', text='0.5')])
    """
    parts, tokens, end = [], [], 0
    for match in _pattern(tuple(kinds)).finditer(text):
        parts.append(text[end : match.start()])
        tokens.append(Token(str(match.lastgroup), match[0]))
        end = match.end()
    parts.append(text[end:])
    return parts, tokens


@cache
def _pattern(kinds: tuple[str, ...]) -> re.Pattern[str]:
    # Without any kind it matches nothing.
    return re.compile("|".join(f"(?P<{kind}>{_PATTERNS[kind]})" for kind in kinds) or r"(?!)")


def _last_part(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]


def _days(text: str) -> list[datetime] | None:
    """The days ``text`` may mean (day and month come in either order); None: it is a time without one."""
    named = re.search(r"(?i)[a-z]{3,}", re.sub(r"(?i)\b(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*", "", text))
    date = re.match(r"(?:datetime\.\w+\()?(\d+)[-/,] ?(\d+)[-/,] ?(\d+)", text)
    if date:
        one, two, three = map(int, date.groups())
        readings = [(one, two, three)] if len(date[1]) == 4 else [(three, one, two), (three, two, one)]
    elif named and named[0][:3].lower() in _MONTH_NUMBERS:
        month = _MONTH_NUMBERS[named[0][:3].lower()]
        year = int((re.findall(r"\b\d{4}\b", text) or ["0"])[-1])
        day = int((re.findall(r"(?<![\d:])\d{1,2}(?![\d:])", text) or ["0"])[0])
        readings = [(year, month, day)]
    else:
        return None
    days = []
    for year, month, day in readings:
        try:
            days.append(datetime(year + 2000 if year < 100 else year, month, day, tzinfo=UTC))
        except ValueError:
            continue
    return days
