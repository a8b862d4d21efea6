"""Running a repository's notebooks again and comparing what they give with what is stored in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from envbuild.errors import RepoError
from envbuild.notebook.provenance import read_provenance
from envbuild.outputs.compare import Rules, compare_outputs
from envbuild.outputs.conventions import CellRules, cell_rules, notebook_rules
from envbuild.outputs.notebook import Cell, parse_notebook, read_cells
from envbuild.outputs.pictures import PictureRules
from envbuild.outputs.prepare import prepare
from envbuild.outputs.sanitize import Replacement, parse_replacements
from envbuild.outputs.settings import OutputSettings
from envbuild.outputs.text import TextRules
from envbuild.outputs.tokens import KINDS, Tolerance, Window
from envbuild.outputs.verdict import CellVerdict, NotebookVerdict, Outcome, State
from envbuild.source import Repo

__all__ = ["Execute", "Reproduced", "reproduce"]

_LARGEST_NOTEBOOK = 256 << 20
_LARGEST_SANITIZER = 1 << 20
_ROUNDED = 1  # second, in the record of a run

# Executes notebooks: (paths, what is executed in their place, seconds per cell) -> for each the executed
# notebook (empty: there is none) and why it failed.
Execute = Callable[
    [Sequence[str], Mapping[str, bytes], float | None], Sequence[tuple[bytes, RepoError | None]]
]


@dataclass(frozen=True, slots=True)
class Reproduced:
    """A verdict, and the notebooks it is about: what is stored, and what was executed (JSON objects).

    Both are None when there is no such notebook, or it was not run to its end.
    """

    verdict: NotebookVerdict
    stored: dict[str, Any] | None = None
    executed: dict[str, Any] | None = None


def reproduce(
    repo: Repo,
    notebooks: Sequence[str],
    execute: Execute,
    *,
    settings: OutputSettings,
    timeout: float | None = None,
    replacements: tuple[Replacement, ...] = (),
) -> tuple[Reproduced, ...]:
    """Run ``notebooks`` and compare; one that fails does not stop the others.

    Parameters:
        notebooks: paths relative to ``repo``.
        timeout: seconds a cell may take, whatever notebooks and settings say; None: what they say.
        replacements: made in addition to those of the settings.

    Raises:
        RepoError: a file of replacements cannot be read.
        EnvbuildError: as ``execute`` does.
    """
    done: dict[str, Reproduced] = {}
    stored: dict[str, dict[str, Any]] = {}
    own = {notebook: settings.of(notebook) for notebook in notebooks}
    files = {one.sanitize_with for one in own.values()}
    read = {file: () if file is None else _read_replacements(repo, file) for file in files}
    for notebook in notebooks:
        if own[notebook].skip:
            done[notebook] = Reproduced(NotebookVerdict(notebook, "skipped"))
            continue
        try:
            stored[notebook] = parse_notebook(repo.read(notebook, _LARGEST_NOTEBOOK), notebook)
        except RepoError as error:
            done[notebook] = Reproduced(NotebookVerdict(notebook, "failed", error=error))
    for seconds, group in _by_timeout(stored, own, timeout).items():
        started = datetime.now(UTC)
        results = execute(group, {path: prepare(stored[path]) for path in group}, seconds)
        window = Window(started, datetime.now(UTC))
        for path, (content, failure) in zip(group, results, strict=True):
            made = (*read[own[path].sanitize_with], *replacements)
            done[path] = _judge(path, stored[path], content, failure, own[path], made, window)
    return tuple(done[notebook] for notebook in notebooks)


def _by_timeout(
    stored: Mapping[str, dict[str, Any]], own: Mapping[str, OutputSettings], timeout: float | None
) -> dict[float | None, list[str]]:
    groups: dict[float | None, list[str]] = {}
    for path, document in stored.items():
        said = timeout or notebook_rules(document.get("metadata")).timeout or own[path].timeout
        groups.setdefault(said, []).append(path)
    return groups


def _read_replacements(repo: Repo, file: str) -> tuple[Replacement, ...]:
    return parse_replacements(repo.read(file, _LARGEST_SANITIZER).decode("utf-8", "replace"), file)


def _rules(settings: OutputSettings, window: Window, replacements: tuple[Replacement, ...]) -> Rules:
    tolerance = Tolerance(settings.relative_tolerance, settings.absolute_tolerance)
    kinds = tuple(kind for kind in KINDS if kind == "number" or kind in settings.sanitize)
    pictures = PictureRules(settings.picture_threshold, settings.picture_tolerance)
    return Rules(TextRules(window, tolerance, kinds, replacements), pictures)


def _own_window(executed: dict[str, Any] | None, all_of_them: Window) -> Window:
    """When this notebook was executed, by the record in it; if that makes no sense, when all of them were."""
    record = read_provenance(executed.get("metadata")) if executed is not None else None
    if record is None or record.started is None or record.seconds is None:
        return all_of_them
    try:
        started = datetime.fromisoformat(record.started)
        ended = started + timedelta(seconds=record.seconds + _ROUNDED)
        inside = all_of_them.started <= started + timedelta(seconds=_ROUNDED) and started <= all_of_them.ended
    except (ValueError, TypeError, OverflowError):  # no time, without a time zone, out of range
        return all_of_them
    return Window(started, ended) if inside else all_of_them


def _judge(
    path: str,
    stored: dict[str, Any],
    content: bytes,
    failure: RepoError | None,
    settings: OutputSettings,
    replacements: tuple[Replacement, ...],
    window: Window,
) -> Reproduced:
    before = read_cells(stored)
    executed: dict[str, Any] | None = None
    if content:
        try:
            executed = parse_notebook(content, path)
        except RepoError as unreadable:
            failure = failure or unreadable
    after = read_cells(executed) if executed is not None else ()
    rules = _rules(settings, _own_window(executed, window), replacements)
    if failure is None and [cell.source for cell in before] != [cell.source for cell in after]:
        failure = RepoError("what was executed has other cells", code="not-executed", file=path)
    if failure is not None:
        cells = _partial(before, after, rules, settings)
        failed = [cell for cell, one in zip(before, cells, strict=False) if one.state == "failed"]
        if failed and failed[0].outputs.failure is not None:
            failure.remedy = "if the cell is meant to fail, tag it `raises-exception`"
        return Reproduced(NotebookVerdict(path, "failed", cells, failure))
    pairs = [(cell, new) for cell, new in zip(before, after, strict=True) if cell.source.strip()]
    cells = tuple(_cell(*pair, rules, settings) for pair in pairs)
    return Reproduced(_verdict(path, cells), stored, executed)


def _verdict(path: str, cells: tuple[CellVerdict, ...]) -> NotebookVerdict:
    wrong = [cell for cell in cells if cell.state == "differs"]
    if wrong:
        first = f"{wrong[0].place}: {wrong[0].differences[0].where}: {wrong[0].differences[0].summary}"
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        error = RepoError(f"outputs differ: {first}{more}", code="outputs-differ", file=path)
        return NotebookVerdict(path, "differs", cells, error)
    compared = any(cell.state == "same" for cell in cells)
    outcome: Outcome = "same" if compared else "nothing-stored"
    return NotebookVerdict(path, outcome, cells)


def _partial(
    before: tuple[Cell, ...], after: tuple[Cell, ...], rules: Rules, settings: OutputSettings
) -> tuple[CellVerdict, ...]:
    """The cells of a notebook that failed: the last one that began is the one that did."""
    began = max((cell.ordinal for cell in after if cell.was_run), default=0)
    cells = []
    for cell, new in zip(before, after, strict=False):
        if cell.ordinal < began:
            cells.append(_cell(cell, new, rules, settings))
        else:
            state: State = "failed" if cell.ordinal == began else "not-reached"
            cells.append(CellVerdict(cell.number, cell.ordinal, cell.source, state))
    return tuple(cells)


def _cell(stored: Cell, new: Cell, rules: Rules, settings: OutputSettings) -> CellVerdict:
    said = cell_rules(stored.source, stored.tags)
    state = _unlooked(stored, said, settings)
    if state is not None:
        return CellVerdict(stored.number, stored.ordinal, stored.source, state)
    found = compare_outputs(stored.outputs, new.outputs, rules)
    return CellVerdict(
        stored.number,
        stored.ordinal,
        stored.source,
        "differs" if found.differences else "same",
        found.differences,
        found.skipped,
    )


def _unlooked(stored: Cell, said: CellRules, settings: OutputSettings) -> State | None:
    """Why the outputs of a cell are not compared; None when they are."""
    if not said.execute:
        return "not-executed"
    compare = not settings.only_marked if said.compare is None else said.compare
    if not compare:
        return "not-compared"
    return None if stored.was_run else "nothing-stored"
