"""What a rule is: a small function that finds one kind of trouble, with a code, a name and a severity."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from envbuild.check.context import Context
    from envbuild.check.document import Document
    from envbuild.check.edits import Edit

__all__ = ["SEVERITIES", "Finding", "Hit", "Rule", "Severity", "notebook_rule", "repository_rule"]

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Hit:
    """What a rule has found. ``message`` is one sentence, ``remedy`` an imperative one.

    In a notebook ``cell`` is the 1-based position of the cell among all of them, ``line`` the 1-based line in
    it; ``needle`` is a part of the cell's outputs (as in the file) to point at instead. For a rule about the
    repository ``file`` and ``line`` are the place. ``severity`` is given where it is not the rule's.
    ``secret`` is a value that must not be shown, in whatever is printed of the file.
    """

    message: str
    cell: int | None = None
    line: int | None = None
    remedy: str | None = None
    file: str | None = None
    severity: Severity | None = None
    needle: bytes | None = None
    fix: Callable[[Document], tuple[Edit, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A :class:`Hit` with its rule and its place: ``line`` is that in the file, ``cell_line`` in the cell."""

    rule: Rule
    severity: Severity
    message: str
    file: str | None = None
    line: int | None = None
    cell: int | None = None
    cell_line: int | None = None
    remedy: str | None = None
    edits: tuple[Edit, ...] = ()

    @property
    def place(self) -> str:
        """``file:line``, ``file`` or the empty string."""
        if self.file is None:
            return ""
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``code`` never changes its meaning; ``documentation`` is Markdown, its first line a summary.

    ``fixable`` tells that `--fix` can mend (some of) what it finds.
    """

    code: str
    name: str
    severity: Severity
    documentation: str
    of_notebook: Callable[[Document, Context], Iterator[Hit]] | None = None
    of_repository: Callable[[Context], Iterator[Hit]] | None = None
    fixable: bool = False

    @property
    def summary(self) -> str:
        """The first line of the documentation."""
        return self.documentation.partition("\n")[0]


def notebook_rule(
    code: str, name: str, severity: Severity, *, fixable: bool = False
) -> Callable[[Callable[[Document, Context], Iterator[Hit]]], Rule]:
    """Make a function that looks at one notebook a rule; its docstring becomes the documentation."""

    def decorate(function: Callable[[Document, Context], Iterator[Hit]]) -> Rule:
        return Rule(code, name, severity, _documentation(function), of_notebook=function, fixable=fixable)

    return decorate


def repository_rule(
    code: str, name: str, severity: Severity
) -> Callable[[Callable[[Context], Iterator[Hit]]], Rule]:
    """Make a function that looks at the repository as a whole a rule."""

    def decorate(function: Callable[[Context], Iterator[Hit]]) -> Rule:
        return Rule(code, name, severity, _documentation(function), of_repository=function)

    return decorate


def _documentation(function: Callable[..., object]) -> str:
    return inspect.cleandoc(function.__doc__ or "")
