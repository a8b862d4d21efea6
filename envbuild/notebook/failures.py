"""What went wrong with a notebook, as an error that says where and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envbuild.errors import RepoError
from envbuild.source.log import last_lines, plain_text

__all__ = ["failure_error"]

# What runner.py (and execute.py) call a failure -> message and remedy, with the place in the notebook and
# what was said.
_FAILURES = {
    "cell-failed": ("{place} failed: {said}", None),
    "cell-timeout": ("{place} took longer than allowed", "raise --timeout, or leave it out"),
    "total-timeout": (
        "the time for all notebooks was over in {place}",
        "raise --total-timeout, or run fewer notebooks",
    ),
    "interrupted": ("it was interrupted in {place}", None),
    "kernel-died": ("the kernel died in {place}", "it may have run out of memory"),
    "out-of-memory": (
        "{place} needed more memory than allowed, so the kernel was ended",
        "raise --memory, or have the notebook keep less at once",
    ),
    "too-much-output": (
        "{place} wrote too much output, so the kernel was ended",
        "have the notebook write to a file, or show less",
    ),
    "no-kernel": ("the environment lacks its kernel: {said}", "lock the environment again"),
    "no-parameters": (
        "the parameters cannot be set in its language ({said})",
        "leave them out, or give them names and values that the language has",
    ),
    "unreadable": ("it is not a notebook that can be run: {said}", None),
    "not-written": ("it ran to its end, and could not be written: {said}", None),
    "not-executed": ("{place} could not be run: {said}", None),
}


def failure_error(notebook: str, failure: Mapping[str, Any], written: Path | None, log: Path) -> RepoError:
    """The error for a failure of ``notebook``.

    Parameters:
        failure: as the runner tells it; not trusted.
        written: where what ran until then is, None when it is nowhere.
        log: what the container's processes printed.
    """
    code = str(failure.get("kind"))
    if code not in _FAILURES:
        code = "not-executed"
    said = plain_text(str(failure.get("message"))).strip()
    message, remedy = _FAILURES[code]
    detail = plain_text(str(failure.get("traceback") or ""))
    if not detail and code in ("kernel-died", "not-executed", "not-written"):
        detail = last_lines(log)
    remedies = [remedy, None if written is None else f"what was run until then is in {written}"]
    return RepoError(
        message.format(place=_place(failure), said=said.partition("\n")[0]),
        code=code,
        file=notebook,
        remedy="; ".join(filter(None, remedies)) or None,
        detail=detail or None,
    )


def _place(failure: Mapping[str, Any]) -> str:
    cell, count, line = (failure.get(key) for key in ("cell", "count", "line"))
    if not isinstance(cell, int):
        return "the notebook"
    prompt = f" (In [{count}])" if isinstance(count, int) else ""
    return f"cell {cell}{prompt}" + (f", line {line}," if isinstance(line, int) else "")
