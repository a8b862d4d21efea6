"""``envbuild run``: notebooks without a browser, or any command."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.drift import drift_document, drift_of, observed, strict_option, with_remedy
from envbuild.cli.notebook_arguments import split_arguments
from envbuild.cli.options import (
    SIZE,
    CommandWithRest,
    chain,
    common_options,
    engine_option,
    environment_options,
    locked_option,
    metrics_options,
    rest_of_command_line,
    subdir_option,
)
from envbuild.cli.session import Session

if TYPE_CHECKING:
    from envbuild.notebook.execute import Executed

__all__ = ["run"]

_LEAST_MEMORY = 256_000_000  # what a kernel and the program that talks to it cannot do without

_what_options = chain(
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Where executed notebooks go. Default: beside the originals, as NAME.executed.ipynb.",
    ),
    click.option("--html", is_flag=True, help="Also write each executed notebook as a page."),
    click.option(
        "--junit",
        type=click.Path(path_type=Path, dir_okay=False, writable=True),
        metavar="FILE",
        help="Write the results as JUnit's XML, for CI.",
    ),
    click.option(
        "-p",
        "--parameter",
        "parameters",
        nargs=2,
        multiple=True,
        metavar="NAME VALUE",
        help="A variable the notebooks start with; VALUE is JSON, or else text. Repeatable.",
    ),
    click.option(
        "-f",
        "--parameters",
        "parameter_files",
        type=click.Path(path_type=Path),
        multiple=True,
        metavar="FILE",
        help="A YAML file of such variables; repeatable, the last counts, and -p before all.",
    ),
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="PATTERN",
        help="Data files whose digests are recorded in what is executed; repeatable.",
    ),
    click.option("--times/--no-times", default=True, help="Whether start and duration are recorded as well."),
)
_how_options = chain(
    click.option(
        "-j",
        "--jobs",
        type=click.IntRange(1, 1024),
        metavar="N",
        help="Notebooks that run at once. Default: one.",
    ),
    click.option("--fail-fast", is_flag=True, help="Begin no other notebook when one has failed."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="For each cell. Default: none.",
    ),
    click.option(
        "--total-timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="For all notebooks together. Default: none.",
    ),
    click.option(
        "--memory", type=SIZE, metavar="SIZE", help="What each notebook may use, like 2G. Default: anything."
    ),
)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be done with notebooks: the options that only they have."""

    notebooks: tuple[str, ...]
    output: Path | None
    html: bool
    junit: Path | None
    parameters: Mapping[str, Any]
    times: bool
    fail_fast: bool
    timeout: float | None
    total_timeout: float | None
    memory: int | None


@click.command(cls=CommandWithRest, short_help="Run notebooks, or any command.")
@click.argument("arguments", nargs=-1, metavar="[SOURCE] [NOTEBOOK...]")
@subdir_option
@_what_options
@_how_options
@strict_option
@engine_option
@locked_option
@environment_options
@metrics_options
@common_options
def run(
    session: Session,
    arguments: tuple[str, ...],
    parameters: tuple[tuple[str, str], ...],
    parameter_files: tuple[Path, ...],
    locked: bool,
    **options: Any,
) -> None:
    """Run notebooks from top to bottom in the repository's environment, or the command after --.

    NOTEBOOK is a path, a directory or a pattern; without any, all notebooks of SOURCE run. They are not
    changed; what comes of them is written elsewhere. Exit code 1: one of them failed.
    """
    command = rest_of_command_line()
    source, notebooks = split_arguments(arguments)
    if command is not None and (notebooks or not command or session.console.machine):
        raise click.UsageError(
            "a command after -- goes with neither notebooks nor --json, and must not be empty"
        )
    if command is not None:
        _run_command(session, source, command, locked=locked)
        return
    values = _values(parameters, parameter_files)
    _run_notebooks(session, source, _Wanted(notebooks, parameters=values, **options), locked=locked)


def _values(parameters: Sequence[tuple[str, str]], files: Sequence[Path]) -> dict[str, Any]:
    """The variables of ``--parameters`` and ``--parameter``, the last one of a name.

    >>> _values([("n", "3"), ("label", "a b"), ("flag", "true")], [])
    {'n': 3, 'label': 'a b', 'flag': True}
    """
    from envbuild.notebook.parameters import parse_value, read_parameters

    values: dict[str, Any] = {}
    for path in files:
        values |= read_parameters(path)
    return values | {name: parse_value(text) for name, text in parameters}


def _run_command(session: Session, source: str, command: tuple[str, ...], *, locked: bool) -> None:
    from envbuild.cli.running import environment_image
    from envbuild.notebook.execute import run_command

    project = session.project(source)
    engine, image = environment_image(session, project, locked=locked)
    directory = session.working_directory(project)
    with observed(session, project, engine, "run", live=False) as observation:
        code = run_command(image, directory, command, engine=observation.engine, reporter=session.console)
    drift = drift_of(project, observation)
    if drift is not None:
        session.console.message(drift)
    raise click.exceptions.Exit(code or int(drift is not None))


def _run_notebooks(session: Session, source: str, wanted: _Wanted, *, locked: bool) -> None:
    from envbuild.cli.run_documents import run_document
    from envbuild.cli.running import environment_image
    from envbuild.notebook.execute import Evidence, execute
    from envbuild.notebook.inputs import hash_inputs
    from envbuild.notebook.parameters import check_names
    from envbuild.notebook.places import check_places
    from envbuild.notebook.select import select_notebooks
    from envbuild.source import Repo
    from envbuild.source.work_tree import source_state

    if wanted.memory is not None and wanted.memory < _LEAST_MEMORY:
        raise click.UsageError(f"--memory is at least {_LEAST_MEMORY // 10**6}M, for the kernel alone")
    console = session.console
    project = session.project(source)
    selected = select_notebooks(project.repo, wanted.notebooks, Path.cwd(), wanted.output)
    check_names(wanted.parameters, selected, project.spec.notebooks)
    if not wanted.notebooks:
        console.note(f"notebooks: {len(selected)}")
    directory = session.working_directory(project)
    check_places(directory, selected, wanted.output)
    engine, image = environment_image(session, project, locked=locked)
    inputs = hash_inputs(Repo(directory), project.settings.inputs, console)
    begun = time.monotonic()
    with observed(session, project, engine, "run", live=False) as observation:
        executed = execute(
            image,
            directory,
            selected,
            engine=observation.engine,
            store=session.store,
            reporter=console,
            output=wanted.output,
            timeout=wanted.timeout,
            parameters=wanted.parameters,
            jobs=session.settings.jobs if session.given("jobs") else 1,
            total_timeout=wanted.total_timeout,
            memory=wanted.memory,
            fail_fast=wanted.fail_fast,
            pages=wanted.html,
            evidence=Evidence(source_state(project.repo, session.environment), inputs, wanted.times),
        )
    seconds = time.monotonic() - begun
    results = [with_remedy(project, result) for result in executed]
    drift = drift_of(project, observation)
    _tell(session, results, seconds)
    if wanted.junit is not None:
        _write_junit(wanted.junit, results, seconds, image.image_id, engine.name)
    if drift is not None:
        console.message(drift)
    document = run_document(results, engine.name, console.rounded_seconds)
    console.document(document | drift_document(observation, drift))
    if drift is not None or any(result.error for result in results):
        raise click.exceptions.Exit(1)


def _tell(session: Session, results: Sequence[Executed], seconds: float) -> None:
    console = session.console
    for result in results:
        if result.error is not None:
            console.message(result.error)
        console.result(*(str(path) for path in (result.result, result.page) if path and not result.error))
    if len(results) > 1:
        failed = sum(result.error is not None for result in results)
        skipped = sum(result.skipped for result in results)
        parts = [f"{len(results) - failed - skipped} passed"]
        parts += [f"{number} {what}" for number, what in ((failed, "failed"), (skipped, "skipped")) if number]
        console.note(f"notebooks: {', '.join(parts)} in {seconds:.1f} s")


def _write_junit(path: Path, results: Sequence[Executed], seconds: float, image: str, engine: str) -> None:
    from envbuild.cli.files import write_named
    from envbuild.notebook.junit import junit_report

    report = junit_report(results, seconds=seconds, properties={"image": image, "engine": engine})
    write_named(path, report, "--junit")
