"""The arguments ``[SOURCE] [NOTEBOOK...]``."""

from __future__ import annotations

from pathlib import Path

__all__ = ["split_arguments"]


def split_arguments(arguments: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """``(source, notebooks)``: when the first is a notebook or a pattern, the current directory is meant."""
    from envbuild.notebook.select import is_pattern

    if not arguments:
        return ".", ()
    first = arguments[0]
    named = first.endswith(".ipynb") or (
        is_pattern(first) and "://" not in first and not Path(first).exists()
    )
    return (".", arguments) if named else (first, arguments[1:])
