"""How values become text that is safe and pleasant to print."""

from __future__ import annotations

import re
from collections.abc import Sequence

from envbuild.quantities import byte_size, count, duration
from envbuild.source.text import printable, redact

__all__ = ["byte_size", "columns", "count", "duration", "escape", "escape_block"]

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def escape(text: str) -> str:
    r"""One line that cannot steer a terminal, without the credentials of URLs: for messages.

    File names, package metadata and notebook output come from strangers: control characters, bidirectional
    overrides and undecodable bytes are shown as escapes.

    >>> escape("a\x1b[31mb at https://user:secret@example.org/simple")
    'a\\x1b[31mb at https://***@example.org/simple'
    """
    return redact(printable(text))


def escape_block(text: str) -> list[str]:
    r"""The lines of ``text``, each made safe by :func:`escape`; colours are taken out.

    >>> escape_block("\x1b[31mError\x1b[0m\n\tat line 1")
    ['Error', '        at line 1']
    """
    return [escape(line).rstrip() for line in _COLOURS.sub("", text).expandtabs().splitlines()]


def columns(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """``rows`` as lines with aligned columns, two spaces apart; ``right`` are right-aligned column numbers.

    >>> columns([("a", "10"), ("bcd", "7")], right=frozenset({1}))
    ['a    10', 'bcd   7']
    """
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))] if rows else []
    return [
        "  ".join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
