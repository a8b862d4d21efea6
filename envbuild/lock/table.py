"""A TOML table that is not trusted: every key must be known, of its kind, and have a possible value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn, Protocol

__all__ = ["Table"]


class Failing(Protocol):
    """Who knows the text that tables are read from, and refuses it."""

    def fail(self, trouble: str, *, line: int | None = None) -> NoReturn:
        """Raise what is to be raised."""

    def line_of(self, needle: str) -> int | None:
        """The line that ``needle`` is in."""


class Table:
    """One TOML table being read; every key must be known and of its kind."""

    def __init__(self, reader: Failing, values: Mapping[str, Any], where: str, needle: str = "") -> None:
        self._reader = reader
        self._values = values
        self._needle = needle
        self._left = set(values)
        self.where = where

    def fail(self, trouble: str) -> NoReturn:
        """Refuse the lock because of something in this table."""
        self._reader.fail(f"{self.where}{trouble}", line=self._reader.line_of(self._needle))

    def keys(self) -> list[str]:
        """All keys of the table."""
        return list(self._values)

    def finish(self) -> None:
        """Refuse keys that nobody asked for."""
        if self._left:
            self.fail(f"unknown key {min(self._left)!r}")

    def _take(self, key: str, kind: type, name: str) -> Any:
        value = self._values.get(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.fail(f"{key} must be {name}" if key in self._values else f"{key} is missing")
        self._left.discard(key)
        return value

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self._values

    def text(self, key: str, pattern: re.Pattern[str] | None) -> str:
        """A text, all of which matches ``pattern``."""
        value: str = self._take(key, str, "a text")
        if pattern is not None and not pattern.fullmatch(value):
            self.fail(f"{key} has an impossible value {value[:100]!r}")
        return value

    def number(self, key: str, *, most: int) -> int:
        """A whole number from 1 to ``most``."""
        value: int = self._take(key, int, "a number")
        if not 1 <= value <= most:
            self.fail(f"{key} has an impossible value {value}")
        return value

    def truth(self, key: str) -> bool:
        """True or false."""
        value: bool = self._take(key, bool, "true or false")
        return value

    def texts(self, key: str, pattern: re.Pattern[str]) -> list[str]:
        """A list of texts, sorted."""
        values = self._take(key, list, "a list")
        for value in values:
            if not isinstance(value, str) or not pattern.fullmatch(value):
                self.fail(f"{key} has an impossible value {str(value)[:100]!r}")
        return sorted(values)

    def table(self, key: str) -> Table:
        """A table in this one."""
        return Table(
            self._reader, self._take(key, dict, "a table"), f"{self.where}{key}.", f"[{self.where}{key}"
        )

    def tables(self, key: str) -> list[Table]:
        """A list of tables in this one."""
        values = self._take(key, list, "a list of tables")
        result = []
        for number, value in enumerate(values):
            if not isinstance(value, dict):
                self.fail(f"{key} must be a list of tables")
            needle = value.get("sha256") or value.get("name")
            result.append(
                Table(
                    self._reader,
                    value,
                    f"{self.where}{key}[{number}].",
                    needle if isinstance(needle, str) else "",
                )
            )
        return result
