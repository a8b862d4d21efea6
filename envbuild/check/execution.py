"""EB5: are the stored outputs those of this code, run from top to bottom?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envbuild.check.context import Context
from envbuild.check.document import Cell, Document
from envbuild.check.rule import Hit, notebook_rule, repository_rule

__all__ = ["RULES"]

_CELL_BYTES = 2_000_000
_NOTEBOOK_BYTES = 10_000_000
_REPOSITORY_BYTES = 100_000_000

_TRIVIAL = re.compile(r"[ \t]*(?:$|#|!|%(?!%)|(?:pip|conda|mamba)[ \t])")
_COUNT = re.compile(rb'"execution_count":\s*(\d{1,9})')
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_NOT_RUN = frozenset({"skip-execution", "nbval-skip", "raises-exception"})
_MAY_FAIL = frozenset({"raises-exception", "nbval-raises-exception"})
_AGAIN = "restart the kernel, run all cells, and save"


@notebook_rule("EB501", "execution-order", "warning")
def execution_order(document: Document, context: Context) -> Iterator[Hit]:
    """Cells were not run from top to bottom.

    The outputs then depend on an order that nobody else knows; a run from the top may fail or give others.
    """
    before: Cell | None = None
    for cell in document.code_cells:
        if not cell.count:
            continue
        if before is not None and before.count is not None and cell.count <= before.count:
            yield Hit(
                f"this cell was run as [{cell.count}], and cell {before.number} above it as [{before.count}]",
                cell.number,
                remedy=_AGAIN,
            )
            return  # one says it all
        before = cell


@notebook_rule("EB502", "execution-missing", "warning")
def execution_missing(document: Document, context: Context) -> Iterator[Hit]:
    """Some cells were run and others were not.

    Notebooks that were not run at all are fine, and so are cells that are tagged `skip-execution` or have
    nothing but remarks, installs and magics in them.
    """
    cells = [
        cell
        for cell in document.code_cells
        if cell.source.strip() and _NOT_RUN.isdisjoint(cell.tags) and not _has_no_code(cell)
    ]
    missing = [cell for cell in cells if cell.count is None and not cell.has_outputs]
    if missing and any(cell.count is not None for cell in cells):
        yield Hit(
            f"{len(missing)} of {len(cells)} cells with code were not run, this one first",
            missing[0].number,
            remedy=_AGAIN,
        )


def _has_no_code(cell: Cell) -> bool:
    return all(_TRIVIAL.match(line) for line in cell.source.replace("\\\n", " ").split("\n"))


@notebook_rule("EB503", "output-stale", "warning")
def output_stale(document: Document, context: Context) -> Iterator[Hit]:
    """An output is not that of the cell's code as it is now.

    The cell is empty, or was not run since its count was taken away, or its output has the count of another
    run. Where no cell has a count, somebody has taken them all away on purpose, and nothing is reported.
    """
    counted = any(cell.count is not None for cell in document.code_cells)
    for cell in document.code_cells:
        if not cell.has_outputs:
            continue
        if not cell.source.strip():
            yield Hit("this cell is empty and has outputs", cell.number, remedy=_AGAIN)
        elif cell.count is None:
            if counted:
                yield Hit("this cell has outputs and was not run", cell.number, remedy=_AGAIN)
        elif cell.count:
            others = {int(match) for match in _COUNT.findall(cell.outputs)} - {cell.count}
            if others:
                yield Hit(
                    f"this cell was run as [{cell.count}], and its output is that of [{min(others)}]",
                    cell.number,
                    remedy=_AGAIN,
                )


@notebook_rule("EB504", "output-error", "warning")
def output_error(document: Document, context: Context) -> Iterator[Hit]:
    """A cell failed when the notebook was saved.

    Where that is the point, tag the cell `raises-exception`: then programs that run notebooks go on, too.
    """
    for cell in document.code_cells:
        if b'"error"' not in cell.outputs or not _MAY_FAIL.isdisjoint(cell.tags):
            continue
        for output in cell.read_outputs():
            if output.get("output_type") in ("error", "pyerr"):
                name = _ANSI.sub("", str(output.get("ename") or "an error"))[:60]
                yield Hit(
                    f"this cell failed with {name}",
                    cell.number,
                    remedy="mend it and run it again, or tag the cell raises-exception",
                )
                break


@notebook_rule("EB505", "output-large", "warning")
def output_large(document: Document, context: Context) -> Iterator[Hit]:
    """The outputs of a notebook are huge: 10 MB or more, or those of one cell 2 MB or more.

    Every change of such a notebook is kept in the history for ever, and many programs refuse to show it.
    """
    large = [cell for cell in document.code_cells if len(cell.outputs) >= _CELL_BYTES]
    for cell in large:
        yield Hit(
            f"the outputs of this cell have {len(cell.outputs) / 1e6:.1f} MB",
            cell.number,
            remedy="show less, or write it to a file",
        )
    total = sum(len(cell.outputs) for cell in document.code_cells)
    if not large and total >= _NOTEBOOK_BYTES:
        yield Hit(f"the outputs have {total / 1e6:.1f} MB together", remedy="show less, or clear the outputs")


@repository_rule("EB506", "notebooks-large", "note")
def notebooks_large(context: Context) -> Iterator[Hit]:
    """The notebooks of the repository have 100 MB or more together."""
    total = sum(file.size for file in context.files if file.path.endswith(b".ipynb") and file.kind == "file")
    if total >= _REPOSITORY_BYTES:
        yield Hit(
            f"the notebooks have {total / 1e6:,.0f} MB together",
            remedy="clear outputs before committing, or keep those that matter as files",
        )


RULES = (execution_order, execution_missing, output_stale, output_error, output_large, notebooks_large)
