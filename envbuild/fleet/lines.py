"""On which line of a TOML file each value is: parsers of TOML keep values and forget places."""

from __future__ import annotations

import re
from collections.abc import Mapping

import tomli

__all__ = ["Key", "lines_of"]

# Names of tables and keys from the outside in; an element of an array is its index.
Key = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' r"'''.*?'{3,5}|" r'"(?:[^"\\\n]|\\.)*"|' r"'[^'\n]*'", re.DOTALL
)
_KEY = re.compile(r"""(?:[^"'=\]]|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')+""")
_BARE = re.compile(r"[^,\]}\n#]+")


def lines_of(text: str) -> Mapping[Key, int]:
    """The line (from 1) of every key, table and element of an array in ``text``.

    Parameters:
        text: valid TOML 1.0; other text gives whatever it gives.

    >>> lines_of("a = 1\\n[b.c]\\nd = [\\n  2,\\n]\\n")
    {('a',): 1, ('b',): 2, ('b', 'c'): 2, ('b', 'c', 'd'): 3, ('b', 'c', 'd', 0): 4}

    Raises:
        RecursionError: arrays in arrays, too many.
    """
    scanner = _Scanner(text)
    scanner.scan()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.lines: dict[Key, int] = {}
        self._counts: dict[Key, int] = {}  # how many tables each array of tables has so far
        self._counted_to = 0
        self._line = 1

    def scan(self) -> None:
        here: Key = ()
        self._skip(_BLANK)
        while self.place < len(self.text):
            started = self.place
            if self.text.startswith("[[", self.place):
                here = self._header(2)
            elif self.text.startswith("[", self.place):
                here = self._header(1)
            else:
                self._assignment(here)
            self._skip(_BLANK)
            if self.place == started:  # not TOML after all
                return

    def _header(self, brackets: int) -> Key:
        self.place += brackets
        line = self._current_line()
        parts = self._key()
        self.place += brackets
        here: Key = ()
        for number, part in enumerate(parts, start=1):
            here = (*here, part)
            self.lines.setdefault(here, line)
            if brackets == 2 and number == len(parts):
                self._counts[here] = self._counts.get(here, 0) + 1
            if here in self._counts:
                here = (*here, self._counts[here] - 1)
                self.lines.setdefault(here, line)
        return here

    def _assignment(self, here: Key) -> None:
        line = self._current_line()
        for part in self._key():
            here = (*here, part)
            self.lines.setdefault(here, line)
        self.place += 1  # the sign of equality
        self._value(here)

    def _value(self, here: Key) -> None:
        self._skip(_BLANK)
        opening = self.text[self.place : self.place + 1]
        if opening == "[":
            self.place += 1
            self._elements(here)
        elif opening == "{":
            self.place += 1
            self._pairs(here)
        elif not self._skip(_STRING):
            self._skip(_BARE)

    def _elements(self, here: Key) -> None:
        number = 0
        while self._continues("]"):
            element = (*here, number)
            self.lines.setdefault(element, self._current_line())
            self._value(element)
            number += 1

    def _pairs(self, here: Key) -> None:
        while self._continues("}"):
            self._assignment(here)

    def _continues(self, closing: str) -> bool:
        """Go to the next element, or past what ends them."""
        self._skip(_BLANK)
        if self.text.startswith(",", self.place):
            self.place += 1
            self._skip(_BLANK)
        if self.place >= len(self.text):
            return False
        if self.text.startswith(closing, self.place):
            self.place += 1
            return False
        return True

    def _key(self) -> tuple[str, ...]:
        match = _KEY.match(self.text, self.place)
        raw = match[0] if match else ""
        self.place += len(raw)
        try:
            table = tomli.loads(f"{raw.strip()} = 0")  # quotes and escapes as the parser understands them
        except (tomli.TOMLDecodeError, RecursionError):
            return (raw,)
        parts = []
        while isinstance(table, dict):
            ((name, table),) = table.items()
            parts.append(name)
        return tuple(parts)

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self.text, self.place)
        self.place = match.end() if match else self.place
        return match is not None

    def _current_line(self) -> int:
        self._line += self.text.count("\n", self._counted_to, self.place)
        self._counted_to = self.place
        return self._line
