"""Text that programs wrote for a terminal, made harmless for ours."""

from __future__ import annotations

import re

__all__ = ["plain_text"]

# ECMA-48: CSI sequences, OSC and other strings, two-character escapes
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_].*?(?:\x07|\x1b\\|$)|[ -/]*[0-~])", re.DOTALL)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain_text(text: str) -> str:
    r"""``text`` without escape sequences and control characters; tabs and line ends stay.

    >>> plain_text("\x1b[0;31mZeroDivisionError\x1b[0m: division by zero")
    'ZeroDivisionError: division by zero'
    """
    return _CONTROLS.sub("", _ESCAPES.sub("", text))
