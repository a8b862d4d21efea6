"""``envbuild verify --notebooks``: its options, and what it prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.console import Console
from envbuild.cli.options import chain
from envbuild.cli.session import Session
from envbuild.cli.text import count, escape
from envbuild.errors import UsageError

if TYPE_CHECKING:
    from envbuild.engine import Engine
    from envbuild.errors import RepoError
    from envbuild.image.model import Image
    from envbuild.outputs.reproduce import Reproduced
    from envbuild.outputs.sanitize import Replacement
    from envbuild.outputs.settings import OutputSettings
    from envbuild.outputs.verdict import CellVerdict, NotebookVerdict

__all__ = ["reproduce_notebooks", "reproduce_options"]

_SHARE = click.FloatRange(0, 1)
_AMOUNT = click.FloatRange(min=0)
_MOST_LINES = 20
_LARGEST_SANITIZER = 1 << 20

reproduce_options = chain(
    click.option(
        "--notebooks",
        is_flag=True,
        help="Instead: run the notebooks again and compare with the outputs stored in them.",
    ),
    click.option(
        "--relative-tolerance",
        type=_AMOUNT,
        metavar="X",
        help="Between numbers, of the larger. Default: 1e-6.",
    ),
    click.option("--absolute-tolerance", type=_AMOUNT, metavar="X", help="Between numbers. Default: 0."),
    click.option(
        "--picture-tolerance",
        type=_SHARE,
        metavar="SHARE",
        help="Of pixels that may be visibly different. Default: 0.",
    ),
    click.option(
        "--sanitize-with",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="Replacements made before texts are compared, as for nbval.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="For each cell. Default: what the notebook says, or none.",
    ),
    click.option(
        "--report",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write an HTML page with what differs, pictures side by side.",
    ),
    click.option("--accept", is_flag=True, help="Write the new outputs into the notebooks that differ."),
)
_TOLERANCES = ("relative_tolerance", "absolute_tolerance", "picture_tolerance")


def reproduce_notebooks(
    session: Session, source: str, notebooks: Sequence[str], *, locked: bool, wishes: Mapping[str, Any]
) -> None:
    """Run the notebooks of ``source``, compare, print, and end with exit code 1 when all is not well.

    Parameters:
        notebooks: as the user named them; none: all of the repository.
        wishes: the values of :data:`reproduce_options`.
    """
    from envbuild.cli.reproducing_documents import reproduced_document
    from envbuild.cli.running import environment_image
    from envbuild.notebook.select import select_notebooks
    from envbuild.outputs.reproduce import reproduce
    from envbuild.outputs.verdict import worst

    replacements = _replacements(wishes["sanitize_with"])
    project = session.project(source)
    selected = select_notebooks(project.repo, notebooks, Path.cwd())
    engine, image = environment_image(session, project, locked=locked)
    directory = session.working_directory(project)
    results = reproduce(
        project.repo,
        selected,
        _Executor(session, engine, image, directory),
        settings=_settings(project.settings.verify, wishes),
        timeout=wishes["timeout"],
        replacements=replacements,
    )
    verdicts = [result.verdict for result in results]
    for verdict in verdicts:
        _print(session, verdict)
    accepted = _accept(session, directory, results) if wishes["accept"] else []
    if wishes["report"] is not None:
        _write_report(session, project.repo.name, verdicts, wishes["report"])
    error = worst([verdict for verdict in verdicts if verdict.notebook not in accepted])
    session.console.document(
        reproduced_document(
            verdicts,
            error=error,
            engine=engine.name,
            accepted=accepted,
            report=wishes["report"],
            seconds=session.console.rounded_seconds,
        )
    )
    if error is not None:
        raise click.exceptions.Exit(1)


def _settings(settings: OutputSettings, wishes: Mapping[str, Any]) -> OutputSettings:
    """``settings`` with what the command line says, which wins over everything in the repository."""
    given = tuple((name, wishes[name]) for name in _TOLERANCES if wishes[name] is not None)
    return replace(settings, notebooks=(*settings.notebooks, ("*", given)))


def _replacements(file: Path | None) -> tuple[Replacement, ...]:
    from envbuild.outputs.sanitize import parse_replacements

    if file is None:
        return ()
    try:
        with file.open("rb") as stream:
            text = stream.read(_LARGEST_SANITIZER).decode("utf-8", "replace")
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", code="bad-sanitizer", file=str(file)) from error
    return parse_replacements(text, str(file), UsageError)


class _Progress:
    """Shows how far running is, but no results: a notebook that ran to its end may still differ."""

    def __init__(self, console: Console) -> None:
        self.stage, self.warn = console.stage, console.warn

    def note(self, message: str) -> None:
        """Say nothing."""


class _Executor:
    """Executes notebooks in the image, and takes back what came of them."""

    def __init__(self, session: Session, engine: Engine, image: Image, directory: Path) -> None:
        self._session, self._engine, self._image, self._directory = session, engine, image, directory

    def __call__(
        self, notebooks: Sequence[str], contents: Mapping[str, bytes], timeout: float | None
    ) -> list[tuple[bytes, RepoError | None]]:
        from envbuild.notebook.execute import execute

        session = self._session
        with session.store.temporary_directory() as scratch:
            results = execute(
                self._image,
                self._directory,
                notebooks,
                engine=self._engine,
                store=session.store,
                reporter=_Progress(session.console),
                output=scratch,
                timeout=timeout,
                contents=contents,
                jobs=session.settings.jobs if session.given("jobs") else 1,
            )
            return [
                (result.result.read_bytes() if result.result else b"", _without(scratch, result.error))
                for result in results
            ]


def _without(scratch: Path, error: RepoError | None) -> RepoError | None:
    """``error`` without a remedy that names a file which is gone when it is read."""
    if error is not None and error.remedy is not None:
        parts = [part for part in error.remedy.split("; ") if str(scratch) not in part]
        error.remedy = "; ".join(parts) or None
    return error


def _accept(session: Session, directory: Path, results: Sequence[Reproduced]) -> list[str]:
    from envbuild.outputs.accept import accept

    accepted = []
    for result in results:
        if result.stored is None or result.executed is None:
            continue
        if accept(directory, result.verdict, result.stored, result.executed):
            accepted.append(result.verdict.notebook)
            session.console.result(f"accepted: {result.verdict.notebook}")
    return accepted


def _write_report(session: Session, name: str, verdicts: Sequence[NotebookVerdict], path: Path) -> None:
    from envbuild.cli.files import write_named
    from envbuild.outputs.page import report_page

    write_named(path, report_page(name, verdicts).encode(), "--report")
    session.console.note(f"report: {path}")


# Text


def _print(session: Session, verdict: NotebookVerdict) -> None:
    console = session.console
    match verdict.outcome:
        case "failed":
            if verdict.error is not None:
                console.message(verdict.error)
            console.result(f"failed: {verdict.notebook}")
        case "skipped":
            console.result(f"skipped: {verdict.notebook}: as the configuration says")
        case "nothing-stored":
            console.result(f"nothing to compare: {verdict.notebook}: executed; it has no stored outputs")
        case "same":
            console.result(
                f"same: {verdict.notebook}: {count(verdict.count('same'), 'cell')}{_apart(verdict)}"
            )
        case "differs":
            compared = verdict.count("same", "differs")
            differing = f"{verdict.count('differs')} of {count(compared, 'cell')}"
            console.result(f"differs: {verdict.notebook}: {differing}{_apart(verdict)}")
    for cell in verdict.cells:
        console.result(*map(escape, _cell(cell, None if console.verbose else _MOST_LINES)))


def _apart(verdict: NotebookVerdict) -> str:
    """What was not compared."""
    amounts = [
        (verdict.count("not-compared"), "not compared"),
        (verdict.count("not-executed"), "not executed"),
        (verdict.count("nothing-stored"), "without stored outputs"),
        (sum(len(cell.skipped) for cell in verdict.cells), "not comparable"),
    ]
    return "".join(f", {amount} {what}" for amount, what in amounts if amount)


def _cell(cell: CellVerdict, most: int | None) -> list[str]:
    lines = []
    for difference in cell.differences:
        lines.append(f"  {cell.place} {difference.where}: {difference.summary}")
        shown = difference.lines[:most]
        lines += [f"    {line}" for line in shown]
        if len(shown) < len(difference.lines):
            lines.append(f"    … and {len(difference.lines) - len(shown)} more lines (--verbose, --report)")
    return [*lines, *(f"  {cell.place} {what}: cannot be compared" for what in cell.skipped)]
