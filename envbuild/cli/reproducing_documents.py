"""The document that ``verify --notebooks --json`` prints (docs/schemas.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envbuild.cli.documents import error_document
from envbuild.outputs.verdict import NotebookVerdict

__all__ = ["reproduced_document"]


def reproduced_document(
    verdicts: Sequence[NotebookVerdict],
    *,
    error: str | None,
    engine: str,
    accepted: Sequence[str],
    report: Path | None,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """``verify --notebooks``: what came of every notebook and cell."""
    return {
        "reproduced": error is None,
        "error": error,
        "engine": engine,
        "notebooks": [_notebook(verdict, verdict.notebook in accepted) for verdict in verdicts],
        "report": None if report is None else str(report),
        "seconds": dict(seconds),
    }


def _notebook(verdict: NotebookVerdict, accepted: bool) -> dict[str, Any]:
    return {
        "notebook": verdict.notebook,
        "outcome": verdict.outcome,
        "accepted": accepted,
        "error": error_document(verdict.error) if verdict.error else None,
        "cells": [
            {
                "cell": cell.number,
                "in": cell.ordinal,
                "state": cell.state,
                "differences": [
                    {
                        "where": difference.where,
                        "kind": difference.kind,
                        "summary": difference.summary,
                        "lines": list(difference.lines),
                    }
                    for difference in cell.differences
                ],
                "skipped": list(cell.skipped),
            }
            for cell in verdict.cells
        ],
    }
