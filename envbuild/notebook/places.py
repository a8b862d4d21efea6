"""Where what comes of notebooks is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from envbuild.errors import MachineError, UsageError
from envbuild.source import printable
from envbuild.store.disk import write_atomic

__all__ = ["EXECUTED", "check_places", "page_path", "result_path", "write_result"]

EXECUTED = ".executed.ipynb"


def result_path(repository: Path, notebook: str, output: Path | None) -> Path:
    """Where the executed copy of ``notebook`` (relative to ``repository``) goes.

    Below ``output`` it keeps its relative path; without one it is put beside the notebook:

    >>> str(result_path(Path("/repo"), "a/b.ipynb", Path("/out")))
    '/out/a/b.ipynb'
    >>> str(result_path(Path("/repo"), "a/b.ipynb", None))
    '/repo/a/b.executed.ipynb'
    """
    if output is not None:
        return output / notebook
    return (repository / notebook).with_suffix(EXECUTED)


def page_path(result: Path) -> Path:
    """Where the page goes that is made from the executed copy at ``result``.

    >>> str(page_path(Path("/out/a/b.ipynb")))
    '/out/a/b.html'
    """
    return result.with_suffix(".html")


def check_places(repository: Path, notebooks: Sequence[str], output: Path | None) -> None:
    """Find out before anything runs whether the results can be written.

    Raises:
        UsageError: a result would take the place of a notebook.
        MachineError: its directory, or the one that it would be made in, is none that we may write to.
    """
    originals = {os.path.realpath(repository / notebook): notebook for notebook in notebooks}
    for notebook in notebooks:
        path = result_path(repository, notebook, output)
        replaced = originals.get(os.path.realpath(path))
        if replaced is not None:
            raise UsageError(
                f"the result of {printable(notebook)} would replace the notebook {printable(replaced)}",
                code="result-replaces-notebook",
                remedy="name another directory with -o, or leave that notebook out",
            )
        place = path.parent
        while not place.exists():
            place = place.parent
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            reason = "no permission" if place.is_dir() else f"{printable(str(place))} is a file"
            raise _not_writable(path, reason)


def write_result(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, with the directories it is in.

    Raises:
        MachineError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    except OSError as error:
        raise _not_writable(path, error.strerror or str(error)) from error


def _not_writable(path: Path, reason: str) -> MachineError:
    return MachineError(
        f"the executed notebook cannot be written: {reason}",
        code="not-writable",
        file=str(path),
        remedy="name a directory you may write to with -o",
    )
