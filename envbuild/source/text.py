"""What a repository says, made fit for a message: no control characters, no credentials."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["clean", "printable", "quote", "redact", "redact_all"]

# Everybody's user on git's servers, with nothing after it, is no secret, and half of the address.
_USER_INFO = re.compile(r"//(?!git@[\w.-]+(?::\d+)?(?:[/\s]|$))[^/\s]*@")
# A password may hold an unescaped slash, which ends the authority for the pattern above. What follows the
# colon is then not a port.
_SLASHED_USER_INFO = re.compile(r"//[^/\s:@]*:(?!\d*(?:[/?#\s]|$))[^\s@]*@")
_QUERY_VALUE = re.compile(r"([?&][^=?&\s#]+=)[^&\s#]+")
_WORD = re.compile(r"\S+")
_LONGEST = 160
_LOOKED_AT = 4000


def printable(name: str | bytes) -> str:
    r"""``name`` on one line: bytes that are not UTF-8 and characters nobody can see become escapes.

    Two different names may be printed alike; use the result for people only, never to open a file.

    >>> printable(b"a b\n\xff.ipynb")
    'a b\\n\\xff.ipynb'
    """
    text = os.fsdecode(name)
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    if "\udc80" <= char <= "\udcff":  # how Python spells a byte of a file name that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()


def redact(text: str) -> str:
    """``text`` with the credentials of every URL in it replaced by ``***``.

    >>> redact("pkg @ https://me:secret@example.org/pkg.whl?token=abc")
    'pkg @ https://***@example.org/pkg.whl?token=***'
    """
    text = _USER_INFO.sub("//***@", text)
    text = _WORD.sub(_without_slashed, text)
    return _QUERY_VALUE.sub(r"\1***", text)


def _without_slashed(word: re.Match[str]) -> str:
    # Only before the last @: behind it, every // would look for one to the end, which takes too long.
    head, at, rest = word[0].rpartition("@")
    return _SLASHED_USER_INFO.sub("//***@", head + at) + rest


def redact_all(value: Any) -> Any:
    """``value``, a document of JSON, with every string in it as :func:`redact` leaves it.

    >>> redact_all({"urls": ["https://me:secret@example.org"], "size": 3})
    {'urls': ['https://***@example.org'], 'size': 3}
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: redact_all(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_all(one) for one in value]
    return value


def clean(text: str) -> str:
    """``text`` of a repository for use inside a message: redacted, printable, shortened.

    >>> clean("numpy >= \\n")
    'numpy >='
    """
    # Redacted before it is cut to size: half a URL does not look like one any more.
    shown = printable(redact(text.strip()[:_LOOKED_AT]))
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "…"


def quote(text: str) -> str:
    """:func:`clean` in quotes.

    >>> quote("numpy >= ")
    "'numpy >='"
    """
    return f"'{clean(text)}'"
