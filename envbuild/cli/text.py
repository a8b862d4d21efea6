"""How values become text that is safe and pleasant to print."""

from __future__ import annotations

import re
from collections.abc import Sequence

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


def byte_size(amount: int) -> str:
    """A size in decimal units.

    >>> byte_size(999), byte_size(71_600_000)
    ('999 B', '71.6 MB')
    """
    if amount < 1000:
        return f"{amount} B"
    value, units = amount / 1000, ["kB", "MB", "GB", "TB"]
    while value >= 999.95 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.1f} {units[0]}"


def duration(seconds: float) -> str:
    """A length of time.

    >>> duration(0.04), duration(3.21), duration(65)
    ('0.04 s', '3.2 s', '1 min 05 s')
    """
    if seconds < 0.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def count(amount: int, singular: str) -> str:
    """A number and its noun.

    >>> count(1, "layer"), count(1200, "layer")
    ('1 layer', '1,200 layers')
    """
    return f"{amount:,} {singular}{'' if amount == 1 else 's'}"


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
