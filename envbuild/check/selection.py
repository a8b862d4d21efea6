"""Which rules are asked, and about which files: the command line's wishes and those of the repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envbuild.check.rules import RULES, matching
from envbuild.errors import EnvbuildError, RepoError, UsageError
from envbuild.source.patterns import Pattern, setting_pattern

__all__ = ["Selection", "make_selection"]

_KEYS = ("select", "ignore", "per-file-ignores")


@dataclass(frozen=True, slots=True)
class Selection:
    """``codes`` are the rules that are asked; ``ignored`` the files in which some of them are not."""

    codes: frozenset[str]
    ignored: tuple[tuple[Pattern, frozenset[str]], ...] = ()

    def wants(self, code: str, path: str) -> bool:
        """Whether what the rule ``code`` finds in the file at ``path`` is reported."""
        return code in self.codes and not any(
            code in codes and _matches(pattern, path) for pattern, codes in self.ignored
        )


def make_selection(
    *,
    select: Sequence[str],
    ignore: Sequence[str],
    table: Any = None,
    file: str | None = None,
) -> Selection:
    """The selection that the command line and the repository's configuration ask for together.

    What the command line selects replaces what the configuration does; what either ignores is ignored.

    Parameters:
        table: ``[tool.envbuild.check]`` as TOML gives it, None without one; ``file`` is where it is.

    Raises:
        UsageError: the command line names a rule that does not exist.
        RepoError: the configuration does, or has another mistake.
    """
    table = {} if table is None else table
    if not isinstance(table, Mapping):
        raise _bad("must be a table", "check", file)
    for key in table:
        if key not in _KEYS:
            raise _bad(f"unknown setting {key!r}", "check", file)
    chosen = {key: _texts(table, key, file) for key in ("select", "ignore")}
    wanted = chosen["select"] or ("ALL",)
    codes = _codes(select, UsageError) if select else _codes(wanted, RepoError, file)
    codes -= _codes(ignore, UsageError) | _codes(chosen["ignore"], RepoError, file)
    per_file = table.get("per-file-ignores", {})
    if not isinstance(per_file, Mapping):
        raise _bad("must be a table of patterns and lists of rules", "per-file-ignores", file)
    ignored = []
    for pattern in per_file:
        try:
            made = setting_pattern(pattern)
        except ValueError as error:
            raise _bad(f"{pattern!r} {error}", "per-file-ignores", file) from error
        ignored.append((made, _codes(_texts(per_file, pattern, file), RepoError, file)))
    return Selection(codes, tuple(ignored))


def _texts(table: Mapping[str, Any], key: str, file: str | None) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _bad("must be a list of rules", key, file)
    return tuple(value)


def _codes(selectors: Sequence[str], kind: type[EnvbuildError], file: str | None = None) -> frozenset[str]:
    try:
        return matching(selectors)
    except ValueError as error:
        raise kind(
            str(error),
            code="unknown-rule",
            file=file,
            remedy=f"the rules are {RULES[0].code} to {RULES[-1].code}: see `envbuild check --explain ALL`",
        ) from error


def _bad(message: str, key: str, file: str | None) -> RepoError:
    return RepoError(f"{key}: {message}", code="bad-setting", file=file, remedy="see docs/check.md")


def _matches(pattern: Pattern, path: str) -> bool:
    """Whether ``pattern`` is about the file at ``path``, or a directory it is in."""
    parts = tuple(path.encode().decode("latin-1").split("/"))  # patterns are of bytes
    if not pattern.directory and pattern.matches(parts):
        return True
    return any(pattern.matches(parts[:length]) for length in range(1, len(parts)))
