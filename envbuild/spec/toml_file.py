"""A TOML file of the repository, with the lines its values are on."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import tomli

from envbuild.errors import RepoError
from envbuild.source import Repo, printable
from envbuild.source.text import clean

__all__ = ["TomlFile", "parse_toml", "subtable"]

_KEY = re.compile(r"""[ \t]*(?:\[\[?[ \t]*)?["']?([\w.-]+)["']?[ \t]*[=\]]""")
_QUOTED = re.compile(r"""(["'])(.*?)\1""")


class TomlFile:
    """What a TOML file says. ``path`` is for people."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.data: dict[str, Any] = tomli.loads(text)
        self._lines = text.split("\n")

    def line_of_string(self, value: str) -> int | None:
        """The first line with ``value`` as a quoted string (TOML parsers keep no positions)."""
        return self._strings.get(value)

    def line_of_key(self, key: str) -> int | None:
        """The first line that assigns ``key`` or opens the table ``key``."""
        return self._keys.get(key)

    def lines_of_table(self, name: str) -> list[int]:
        """The lines that open a table of the array ``name``."""
        heading = re.compile(rf"\[\[[ \t]*{re.escape(name)}[ \t]*\]\]")
        return [number for number, line in enumerate(self._lines, 1) if heading.match(line)]

    @cached_property
    def _keys(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for number, line in enumerate(self._lines, 1):
            if match := _KEY.match(line):
                found.setdefault(match[1], number)
        return found

    @cached_property
    def _strings(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for number, line in enumerate(self._lines, 1):
            for match in _QUOTED.finditer(line):
                found.setdefault(match[2], number)
        return found


def parse_toml(repo: Repo, path: str, limit: int) -> TomlFile:
    """Read the TOML file ``path`` of at most ``limit`` bytes.

    Raises:
        RepoError: it cannot be read, is not UTF-8 or is not TOML.
    """
    shown = printable(path)
    data = repo.read(path, limit)
    try:
        return TomlFile(shown, data.decode())
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RepoError("this is not UTF-8 text", code="bad-encoding", file=shown, line=line) from error
    except tomli.TOMLDecodeError as error:
        raise RepoError(
            f"this is not valid TOML: {clean(error.msg)}",
            code="bad-toml",
            file=shown,
            line=error.lineno,
        ) from error
    except (RecursionError, ValueError) as error:  # ValueError: a number of more digits than Python converts
        raise RepoError("this is not valid TOML", code="bad-toml", file=shown) from error


def subtable(data: object, key: str) -> dict[str, Any]:
    """The table ``key`` of ``data``; an empty one when there is none, or something else."""
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, dict) else {}
