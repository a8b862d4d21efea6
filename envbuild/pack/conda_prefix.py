"""Putting an environment's place where a conda package has the place it was built in.

Packages hold the path of the prefix they were built in, a long *placeholder*, in text files and in binaries;
``info/paths.json`` says where. The rules are those of conda's and rattler's installers.
"""

from __future__ import annotations

import re
from typing import Literal

__all__ = ["replace_prefix"]

# What Linux reads of a ``#!`` line, without its end (fs/binfmt_script.c).
_LONGEST_SHEBANG = 127
_SHEBANG = re.compile(rb"#! *(/(?:\\ |[^ \n\r\t])*)(.*)", re.DOTALL)


def replace_prefix(data: bytes, placeholder: bytes, prefix: bytes, mode: Literal["text", "binary"]) -> bytes:
    """``data`` with every ``placeholder`` replaced by ``prefix``.

    In a binary the strings that contain it are filled up with NUL bytes, so nothing moves.

    >>> replace_prefix(b"#!/old/prefix/bin/python -u", b"/old/prefix", b"/srv/env", "text")
    b'#!/srv/env/bin/python -u'
    >>> replace_prefix(b"x/old/prefix/lib:/old/prefix/bin\\0y", b"/old/prefix", b"/srv/env", "binary")
    b'x/srv/env/lib:/srv/env/bin\\x00\\x00\\x00\\x00\\x00\\x00\\x00y'

    Raises:
        ValueError: the placeholder is too short to be the place of ``prefix`` in a binary.
    """
    if mode == "binary":
        return _replace_in_strings(data, placeholder, prefix)
    if not data.startswith(b"#!"):
        return data.replace(placeholder, prefix)
    first, newline, rest = data.partition(b"\n")
    return _short(first.replace(placeholder, prefix)) + newline + rest.replace(placeholder, prefix)


def _replace_in_strings(data: bytes, placeholder: bytes, prefix: bytes) -> bytes:
    if len(prefix) > len(placeholder):
        raise ValueError("the prefix it was built in is too short to be replaced in a binary")

    def replaced(match: re.Match[bytes]) -> bytes:
        string = match.group()
        return string.replace(placeholder, prefix).ljust(len(string), b"\0")

    return re.sub(re.escape(placeholder) + rb"[^\0]*", replaced, data)


def _short(shebang: bytes) -> bytes:
    """``shebang`` itself, or when Linux would cut it off, one that finds its program on PATH."""
    match = _SHEBANG.fullmatch(shebang)
    if len(shebang) <= _LONGEST_SHEBANG or match is None:
        return shebang
    return b"#!/usr/bin/env " + match[1].rpartition(b"/")[2] + match[2]
