"""What came of running notebooks again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from envbuild.errors import RepoError
from envbuild.outputs.compare import Difference

__all__ = ["CellVerdict", "NotebookVerdict", "Outcome", "State", "worst"]

State = Literal["same", "differs", "failed", "not-reached", "not-executed", "not-compared", "nothing-stored"]
Outcome = Literal["same", "differs", "failed", "nothing-stored", "skipped"]


@dataclass(frozen=True, slots=True)
class CellVerdict:
    """One code cell.

    Attributes:
        number: its position among all cells, from 1.
        ordinal: its position among code cells; the number in its prompt after a run from top to bottom.
        source: its code.
        state: ``not-executed`` and ``not-compared`` are its author's wish, ``nothing-stored`` says that there
            are no outputs to compare with, ``not-reached`` that a cell before it failed.
        skipped: what could not be compared.
    """

    number: int
    ordinal: int
    source: str
    state: State
    differences: tuple[Difference, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """``cell 4 (In [2])``."""
        return f"cell {self.number} (In [{self.ordinal}])"


@dataclass(frozen=True, slots=True)
class NotebookVerdict:
    """One notebook.

    ``error`` is why it failed (its code is one of :func:`envbuild.notebook.execute.execute`, or of
    :func:`.notebook.parse_notebook`), or that its outputs differ (``outputs-differ``).
    """

    notebook: str
    outcome: Outcome
    cells: tuple[CellVerdict, ...] = ()
    error: RepoError | None = None

    def count(self, *states: State) -> int:
        """How many cells are in one of ``states``."""
        return sum(cell.state in states for cell in self.cells)


def worst(verdicts: Sequence[NotebookVerdict]) -> Literal["notebook-failed", "outputs-differ"] | None:
    """The code of the result as a whole: a failure is worse than a difference. None: all is well."""
    outcomes = {verdict.outcome for verdict in verdicts}
    return "notebook-failed" if "failed" in outcomes else "outputs-differ" if "differs" in outcomes else None
