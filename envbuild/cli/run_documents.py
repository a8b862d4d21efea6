"""The document that ``envbuild run --json`` prints (docs/schemas.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.cli.documents import error_document

if TYPE_CHECKING:
    from envbuild.notebook.execute import Executed

__all__ = ["run_document"]


def run_document(results: Sequence[Executed], engine: str, seconds: Mapping[str, float]) -> dict[str, Any]:
    """``run``: what became of each notebook."""
    return {
        "engine": engine,
        "notebooks": [
            {
                "notebook": result.notebook,
                "outcome": "skipped" if result.skipped else "failed" if result.error else "passed",
                "result": _path(result.result),
                "html": _path(result.page),
                "cells": result.cells,
                "seconds": result.seconds,
                "error": error_document(result.error) if result.error else None,
            }
            for result in results
        ],
        "seconds": dict(seconds),
    }


def _path(path: Path | None) -> str | None:
    return str(path) if path is not None else None
