"""Text that programs wrote for a terminal, made harmless for ours."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["last_lines", "plain_text"]

_LOG_LINES = 20
_LOG_BYTES = 1 << 16

# ECMA-48: CSI sequences, OSC and other strings, two-character escapes
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_].*?(?:\x07|\x1b\\|$)|[ -/]*[0-~])", re.DOTALL)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain_text(text: str) -> str:
    r"""``text`` without escape sequences and control characters; tabs and line ends stay.

    >>> plain_text("\x1b[0;31mZeroDivisionError\x1b[0m: division by zero")
    'ZeroDivisionError: division by zero'
    """
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def last_lines(log: Path) -> str:
    """The last lines of a program's log, as plain text; none when somebody has deleted it."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _LOG_BYTES))
            lines = stream.read(_LOG_BYTES).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return ""
    return plain_text("\n".join(lines[-_LOG_LINES:]))
