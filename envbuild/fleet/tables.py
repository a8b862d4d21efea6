"""Tables of a fleet file, read strictly: whatever is not as it should be is an error with its line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomli

from envbuild.errors import UsageError
from envbuild.fleet.lines import Key, lines_of
from envbuild.source.text import clean, printable, quote

__all__ = ["Table", "read_table"]

_MOST_BYTES = 8_000_000
_T = TypeVar("_T")


def read_table(path: Path) -> Table:
    """The TOML file ``path`` as a table.

    Raises:
        UsageError: it cannot be read, is not UTF-8 or not TOML.
    """
    file = printable(str(path))
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise UsageError(
            "there is no such file", code="no-fleet-file", file=file, remedy="give the path of a fleet file"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"it cannot be read: {reason}",
            code="fleet-not-readable",
            file=file,
            remedy="give the path of a fleet file that you may read",
        ) from error
    if len(data) > _MOST_BYTES:
        raise UsageError(
            f"it is larger than {_MOST_BYTES // 1_000_000} MB",
            code="fleet-not-readable",
            file=file,
            remedy="make several fleets of it",
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            "it is not UTF-8 text", code="bad-encoding", file=file, line=line, remedy="save it as UTF-8"
        ) from error
    try:
        return Table(file, tomli.loads(text), lines_of(text))
    except tomli.TOMLDecodeError as error:
        said = clean(error.msg)
        twice = "overwrite" in said or "twice" in said
        raise UsageError(
            f"it is not valid TOML: {said}",
            code="bad-toml",
            file=file,
            line=error.lineno,
            remedy="write every table and every key once" if twice else "correct this line",
        ) from error
    except (RecursionError, ValueError) as error:  # ValueError: a number of more digits than Python converts
        raise UsageError(
            "it is not valid TOML", code="bad-toml", file=file, remedy="correct what is nested or too long"
        ) from error


class Table:
    """A table of the file, and where it is in it.

    Methods that read a key give None, or nothing, when there is no such key.
    """

    def __init__(self, file: str, data: Mapping[str, Any], lines: Mapping[Key, int], path: Key = ()) -> None:
        self.data = data
        self._file = file
        self._lines = lines
        self._path = path

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return f"[{_dotted(self._path)}]"

    def error(self, message: str, *keys: str | int, code: str, remedy: str) -> UsageError:
        """An error about what is at ``keys`` of this table."""
        return UsageError(message, code=code, file=self._file, line=self.line(*keys), remedy=remedy)

    def line(self, *keys: str | int) -> int | None:
        """The line of what is at ``keys``, or of what it is in."""
        place = (*self._path, *keys)
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place)

    def only(self, *known: str) -> None:
        """Raises: UsageError: there is another key."""
        for key in self.data:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"write {near[0]!r}" if near else f"use only {', '.join(known)}"
                place = f"in {self.title}" if self._path else "at the top"
                raise self.error(
                    f"unknown key {quote(key)} {place}", key, code="unknown-fleet-key", remedy=hint
                )

    def wrong(self, key: str, trouble: str, *within: str | int, remedy: str | None = None) -> UsageError:
        """An error about the value of ``key``; ``trouble`` is the end of the sentence."""
        name = printable(key) + "".join(f".{printable(str(part))}" for part in within)
        return self.error(
            f"{name} in {self.title} {trouble}",
            key,
            *within,
            code="bad-fleet-value",
            remedy=remedy or f"correct {name}",
        )

    def table(self, key: str) -> Table | None:
        """The table ``key``."""
        value = self.data.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(key, "must be a table")
        return Table(self._file, value, self._lines, (*self._path, key))

    def tables(self, key: str) -> Iterator[tuple[str, Table]]:
        """``(name, table)`` for every table in the table ``key``."""
        outer = self.table(key)
        for name in outer.data if outer else ():
            assert outer is not None
            inner = outer.table(name)
            assert inner is not None  # TOML has no null
            yield name, inner

    def elements(self, key: str) -> Iterator[Table]:
        """The tables in the array ``key``."""
        value = self.data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(key, "must be a list of tables")
        for number, item in enumerate(value):
            yield Table(self._file, item, self._lines, (*self._path, key, number))

    def text(self, key: str, read: Callable[[str], _T], *, what: str = "a text") -> _T | None:
        """What ``read`` makes of the text ``key``; its ValueError is the end of a sentence about it."""
        value = self.data.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.wrong(key, f"must be {what} in quotes")
        return self._read(key, value, read)

    def value(self, key: str, read: Callable[[object], _T]) -> _T | None:
        """What ``read`` makes of ``key``, of whatever type it is."""
        return self._read(key, self.data[key], read) if key in self.data else None

    def texts(self, key: str, read: Callable[[str], _T]) -> tuple[_T, ...]:
        """What ``read`` makes of each text in the list ``key``; nothing may be in it twice."""
        value = self.data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, 'must be a list of texts, like ["one", "two"]')
        found: list[_T] = []
        for number, item in enumerate(value):
            made = self._read(key, item, read, number)
            if made in found:
                raise self.wrong(key, f"has {quote(item)} twice", number, remedy="write it once")
            found.append(made)
        return tuple(found)

    def switch(self, key: str) -> bool:
        """Whether ``key`` is true."""
        value = self.data.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, "must be true or false")
        return value

    def number(self, key: str, most: int) -> int:
        """The whole number ``key``, 0 without."""
        value = self.data.get(key, 0)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise self.wrong(key, f"must be a whole number from 0 to {most}")
        return value

    def pairs(self, key: str, check: Callable[[str, str], None]) -> tuple[tuple[str, str], ...]:
        """Names and texts in the table ``key``, in order of name.

        Parameters:
            check: raises ValueError with the end of a sentence about the pair.
        """
        inner = self.table(key)
        if inner is None:
            return ()
        for name, value in inner.data.items():
            if not isinstance(value, str):
                raise self.wrong(key, "must be a text in quotes", name)
            try:
                check(name, value)
            except ValueError as error:
                raise self.wrong(key, str(error), name) from error
        return tuple(sorted(inner.data.items()))

    def _read(self, key: str, value: Any, read: Callable[[Any], _T], *within: int) -> _T:
        try:
            return read(value)
        except ValueError as error:
            shown = f"is {quote(value)} and " if isinstance(value, str) else ""
            raise self.wrong(key, f"{shown}{error}", *within) from error
        except UsageError as error:
            raise self.error(
                error.message, key, *within, code=error.code, remedy=error.remedy or f"correct {key}"
            ) from error


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(printable(str(part)) for part in path)
