"""Selectors of platforms: comments like ``# [win]`` at the end of a line of ``environment.yml``.

conda takes them for comments. conda-lock, and so who locks with it, leaves out the lines of other platforms:
https://conda.github.io/conda-lock/platforms/
"""

from __future__ import annotations

import re

from envbuild.source.text import quote
from envbuild.spec.findings import Findings

__all__ = ["leave_out_other_platforms"]

_COMMENT = re.compile(rb"\s#(.*)")
_SELECTOR = re.compile(rb"[^\[\]]*\[([^\[\]]*)\][^\[\]]*")
_LINUX = frozenset({"linux", "linux64", "unix"})
# conda-build's names; "arm64" is the one of macOS.
_OTHERS = frozenset({"arm64", "osx", "osx64", "win", "win32", "win64"})
_KEPT = _LINUX | {f"not {name}" for name in _OTHERS}
_LEFT_OUT = _OTHERS | {"not linux", "not unix"}


def leave_out_other_platforms(data: bytes, file: str, findings: Findings) -> bytes:
    """``data`` with an empty line for each one that is not for Linux, so that lines keep their numbers.

    Parameters:
        file: the name of ``data`` for messages.
    """
    lines = data.splitlines(keepends=True)
    for index, line in enumerate(lines):
        content = line.rstrip(b"\r\n")
        comment = _COMMENT.search(content)
        found = _SELECTOR.fullmatch(comment[1]) if comment and content[: comment.start()].strip() else None
        if found is None:
            continue
        selector = " ".join(found[1].decode("utf-8", "replace").split())
        if selector in _LEFT_OUT:
            lines[index] = line[len(content) :]
            findings.note("other-platform", f"[{selector}]: the line is left out", file, index + 1)
        elif selector not in _KEPT:
            findings.warning(
                "unknown-selector",
                f"the selector {quote(f'[{selector}]')} is not followed: the line counts on every platform",
                file,
                index + 1,
                "of selectors, linux, unix, osx and win are followed",
            )
    return b"".join(lines)
