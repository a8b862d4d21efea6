"""The document of ``check --format json`` (docs/schemas.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envbuild.check.checker import Checked, Fixed
from envbuild.check.rule import SEVERITIES, Finding

__all__ = ["check_document"]


def check_document(
    checked: Checked, fixed: Sequence[Fixed], *, written: bool, seconds: dict[str, float]
) -> dict[str, Any]:
    """``check``: every finding, and how many there are.

    Parameters:
        fixed: the files in which something can be mended.
        written: whether what can be mended was.
    """
    return {
        "findings": [_finding(finding) for finding in checked.findings],
        "counts": {severity: checked.count(severity) for severity in SEVERITIES},
        "notebooks": checked.notebooks,
        "suppressed": checked.suppressed,
        "fixed": [{"path": each.path, "findings": len(each.findings), "written": written} for each in fixed],
        "seconds": seconds,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.rule.code,
        "name": finding.rule.name,
        "severity": finding.severity,
        "message": finding.message,
        "file": finding.file,
        "line": finding.line,
        "cell": finding.cell,
        "cell_line": finding.cell_line,
        "remedy": finding.remedy,
        "fixable": bool(finding.edits),
    }
