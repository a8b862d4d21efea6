"""Asks every rule about a repository, and keeps what was not suppressed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from envbuild.check.context import Context
from envbuild.check.credentials import conceal
from envbuild.check.document import Document, read_document
from envbuild.check.edits import apply
from envbuild.check.rule import SEVERITIES, Finding, Hit, Rule
from envbuild.check.rules import RULES, matching
from envbuild.check.selection import Selection
from envbuild.errors import RepoError
from envbuild.source import RepoFile, printable

__all__ = ["Checked", "Fixed", "check_repository"]

_MOST_BYTES = 256 << 20
_REMARK = re.compile(r"(?:#|//|--|%)\s*envbuild:\s*ignore(?:\[([\w\s,-]*)\])?", re.IGNORECASE)
_TAG = re.compile(r"envbuild[:-]ignore(?:[=:-]([\w,-]+))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fixed:
    """A notebook file as it is and as it would be with everything mended that can be."""

    path: str
    file: RepoFile
    before: bytes
    after: bytes
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of it: findings sorted by place, and how many were found and not to be reported."""

    findings: tuple[Finding, ...]
    notebooks: int
    suppressed: int
    fixed: tuple[Fixed, ...] = ()

    def count(self, severity: str) -> int:
        """How many findings have this severity."""
        return sum(finding.severity == severity for finding in self.findings)


def check_repository(context: Context, selection: Selection, *, fix: bool = False) -> Checked:
    """What the selected rules find.

    Parameters:
        fix: also say what the files would be with what can be mended; nothing is written.
    """
    rules = [rule for rule in RULES if rule.code in selection.codes]
    run = _Run(context, selection)
    for rule in rules:
        if rule.of_repository is not None:
            run.take(rule, rule.of_repository(context), None)
    of_notebook = [rule for rule in rules if rule.of_notebook is not None]
    notebooks = {notebook.path: notebook for notebook in context.spec.notebooks}
    fixed = []
    for file in context.files:
        notebook = notebooks.get(printable(file.path)) if file.kind == "file" else None
        if notebook is None or not of_notebook:
            continue
        try:
            data = context.repo.read(os.fsdecode(file.path), _MOST_BYTES)
        except RepoError:  # it was there a moment ago; reading the spec has said what is wrong otherwise
            continue
        document = read_document(notebook, data)
        if document is None:
            continue
        before = len(run.findings)
        for rule in of_notebook:
            if rule.of_notebook is not None:
                run.take(rule, rule.of_notebook(document, context), document)
        if fix:
            fixed += _fixed(document, file, run.findings[before:])
    return Checked(tuple(sorted(run.findings, key=_order)), len(notebooks), run.suppressed, tuple(fixed))


def _order(finding: Finding) -> tuple[str, int, int, int, str, str]:
    return (
        finding.file or "",
        finding.cell or 0,
        finding.line or 0,
        SEVERITIES.index(finding.severity),
        finding.rule.code,
        finding.message,
    )


class _Run:
    """Collects findings."""

    def __init__(self, context: Context, selection: Selection) -> None:
        self._context = context
        self._selection = selection
        self.findings: list[Finding] = []
        self.suppressed = 0

    def take(self, rule: Rule, hits: Iterator[Hit], document: Document | None) -> None:
        """Keep those ``hits`` that are to be reported."""
        if document is not None and not self._selection.wants(rule.code, document.path):
            return
        for hit in hits:
            file = document.path if document is not None else hit.file
            if file is not None and not self._selection.wants(rule.code, file):
                continue
            if document is not None and _is_suppressed(rule, hit, document):
                self.suppressed += 1
                continue
            line = hit.line if document is None else document.line_of(hit.cell, hit.line, hit.needle)
            self.findings.append(
                Finding(
                    rule,
                    hit.severity or rule.severity,
                    _shown(hit.message),
                    file,
                    line,
                    hit.cell,
                    hit.line if document is not None else None,
                    _shown(hit.remedy) if hit.remedy else None,
                    hit.fix(document) if document is not None and hit.fix is not None else (),
                )
            )


def _shown(text: str) -> str:
    """A message, which may quote a notebook: on one line, encodable, without credentials."""
    return conceal(printable(text))


def _is_suppressed(rule: Rule, hit: Hit, document: Document) -> bool:
    """Whether the cell's tags or the line itself say that this is not to be reported."""
    if hit.cell is None:
        return False
    cell = document.cells[hit.cell - 1]
    for tag in cell.tags:
        if (match := _TAG.fullmatch(tag)) and _covers(match[1], rule):
            return True
    if "envbuild:" not in cell.source.lower():
        return False
    lines = cell.source.split("\n")
    line = lines[hit.line - 1] if hit.line is not None and hit.line <= len(lines) else lines[0]
    match = _REMARK.search(line)
    return match is not None and _covers(match[1], rule)


def _covers(selectors: str | None, rule: Rule) -> bool:
    if selectors is None:
        return True
    for selector in re.split(r"[\s,]+", selectors.strip()):
        try:
            if rule.code in matching([selector]):
                return True
        except ValueError:
            continue
    return False


def _fixed(document: Document, file: RepoFile, findings: Iterable[Finding]) -> list[Fixed]:
    mended = tuple(finding for finding in findings if finding.edits)
    after = apply(document.data, (edit for finding in mended for edit in finding.edits))
    # Whatever an edit does, the file stays a notebook with as many cells.
    again = read_document(document.notebook, after)
    if after == document.data or again is None or len(again.cells) != len(document.cells):
        return []
    return [Fixed(document.path, file, document.data, after, mended)]
