"""The report for people, on a terminal and beside the lines on GitHub."""

from __future__ import annotations

from collections.abc import Iterator

from envbuild.check.checker import Checked
from envbuild.check.rule import Finding

__all__ = ["github_lines", "sentence", "text_lines"]

_GITHUB = {"error": "error", "warning": "warning", "note": "notice"}


def sentence(finding: Finding) -> str:
    """What was found with the place inside of the notebook, and what to do.

    The line of a notebook's file is where an editor goes to; people count cells.
    """
    remedy = f" ({finding.remedy})" if finding.remedy else ""
    return f"{_inside(finding)}{finding.message}{remedy}"


def text_lines(checked: Checked) -> Iterator[str]:
    """One line for each finding, with what to do below it."""
    for finding in checked.findings:
        place = f"{finding.place}: " if finding.place else ""
        fixable = " [*]" if finding.edits else ""
        yield f"{place}{finding.rule.code} {finding.severity}:{fixable} {_inside(finding)}{finding.message}"
        if finding.remedy:
            yield f"  help: {finding.remedy}"


def github_lines(checked: Checked) -> Iterator[str]:
    """Workflow commands: annotations at the file and the line.

    https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    """
    for finding in checked.findings:
        properties = {"title": f"{finding.rule.code} {finding.rule.name}"}
        if finding.file is not None:
            properties = {"file": finding.file, "line": str(finding.line or 1), **properties}
        shown = ",".join(f"{name}={_escape(value, ':,')}" for name, value in properties.items())
        yield f"::{_GITHUB[finding.severity]} {shown}::{_escape(sentence(finding))}"


def _inside(finding: Finding) -> str:
    if finding.cell is None:
        return ""
    line = f", line {finding.cell_line}" if finding.cell_line is not None else ""
    return f"cell {finding.cell}{line}: "


def _escape(text: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
