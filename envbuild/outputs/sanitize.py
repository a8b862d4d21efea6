"""The user's own replacements, in nbval's format::

    [name of a group of replacements]
    regex: a regular expression of Python
    replace: what every match becomes; \\1 is the first group

Only the two lines, one directly after the other, mean something; headings are for people. Format:
https://nbval.readthedocs.io/en/latest/#Regex-Output-sanitizing
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from envbuild.errors import EnvbuildError, RepoError
from envbuild.source.text import clean, quote

__all__ = ["Replacement", "parse_replacements"]


@dataclass(frozen=True, slots=True)
class Replacement:
    """Every match of ``pattern`` becomes ``replacement``."""

    pattern: re.Pattern[str]
    replacement: str

    def apply(self, text: str) -> str:
        """``text`` with the matches replaced."""
        return self.pattern.sub(self.replacement, text)


def parse_replacements(
    text: str, file: str, error_type: type[EnvbuildError] = RepoError
) -> tuple[Replacement, ...]:
    """The replacements of a sanitize file, in order.

    Parameters:
        file: for errors.
        error_type: whose file it is.

    Raises:
        EnvbuildError: of ``error_type``, when there is none, or one is not valid.
    """
    found = []
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if not line.startswith("regex: "):
            continue
        following = lines[number] if number < len(lines) else ""
        if not following.startswith("replace:"):
            raise error_type(
                "there is no `replace:` below this `regex:`",
                code="bad-sanitizer",
                file=file,
                line=number,
                remedy="write `replace: TEXT` on the line below it",
            )
        replacement = following.removeprefix("replace:").removeprefix(" ")
        try:
            pattern = re.compile(line.removeprefix("regex: "))
            pattern.sub(replacement, "")  # parses it
        except (re.error, IndexError, RecursionError, OverflowError) as error:
            raise error_type(
                f"{quote(line)} is not a replacement: {clean(str(error))}",
                code="bad-sanitizer",
                file=file,
                line=number,
                remedy="correct the regular expression, or the group in what replaces it",
            ) from error
        found.append(Replacement(pattern, replacement))
    if not found:
        raise error_type(
            "there is no replacement in this file",
            code="bad-sanitizer",
            file=file,
            remedy="write `regex: PATTERN` and `replace: TEXT` below it, as for nbval",
        )
    return tuple(found)
