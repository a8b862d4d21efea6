"""Writing new outputs into a notebook: nothing else of it changes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from envbuild.errors import MachineError
from envbuild.outputs.verdict import NotebookVerdict
from envbuild.store.disk import write_atomic

__all__ = ["accept"]

_INDENT = 1  # as Jupyter writes notebooks


def accept(
    directory: Path, verdict: NotebookVerdict, stored: Mapping[str, Any], executed: Mapping[str, Any]
) -> bool:
    """Write the outputs of the cells that differ, or had none, into the notebook; whether there were any.

    All cells that were executed get the number that their prompt has now, unless the notebook is kept
    without numbers. The file is replaced as a whole.

    Parameters:
        directory: the repository; nothing runs in it any more that could change it.
        stored, executed: the notebook as it was and as it is now, with the same cells.

    Raises:
        MachineError: the file cannot be written, or is no longer in the repository.
    """
    new = {cell.number for cell in verdict.cells if cell.state in ("differs", "nothing-stored")}
    if not new:
        return False
    ran = {cell.number for cell in verdict.cells if cell.state != "not-executed"}
    numbered = any(cell.get("execution_count") for cell in stored["cells"] if isinstance(cell, dict))
    fresh = all(verdict_cell.state == "nothing-stored" for verdict_cell in verdict.cells)
    cells = list(stored["cells"])
    for number in sorted(ran):
        cell, now = dict(cells[number - 1]), executed["cells"][number - 1]
        if number in new:
            cell["outputs"] = now.get("outputs", [])
        if numbered or fresh:
            cell["execution_count"] = now.get("execution_count")
        cell["outputs"] = [_numbered(output, cell.get("execution_count")) for output in cell["outputs"]]
        cells[number - 1] = cell
    text = json.dumps({**stored, "cells": cells}, indent=_INDENT, ensure_ascii=False) + "\n"
    _replace(directory, verdict.notebook, text.encode("utf-8", "surrogatepass"))
    return True


def _numbered(output: Any, count: Any) -> Any:
    if isinstance(output, dict) and output.get("output_type") == "execute_result":
        return {**output, "execution_count": count}
    return output


def _replace(directory: Path, notebook: str, content: bytes) -> None:
    """Write below ``directory`` only: what ran there may have put a link in the place of a directory."""
    path = directory / notebook
    try:
        parent = path.parent.resolve(strict=True)
        if not parent.is_relative_to(directory.resolve()) or path.is_symlink():
            raise MachineError(
                "this is no longer the notebook that was read",
                code="changed-while-reading",
                file=notebook,
                remedy="look at what its code does with links",
            )
        status = path.stat()
        write_atomic(parent / path.name, content, mode=status.st_mode & 0o777)
        with suppress(OSError):
            os.chown(parent / path.name, status.st_uid, status.st_gid)
    except OSError as error:
        raise MachineError(
            f"the outputs cannot be written: {error.strerror}",
            code="not-writable",
            file=str(path),
            remedy="check its permissions",
        ) from error
