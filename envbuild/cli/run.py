"""``envbuild run``: notebooks without a browser, or any command."""

from __future__ import annotations

import json
import keyword
from pathlib import Path
from typing import Any

import click

from envbuild.cli.options import (
    CommandWithRest,
    common_options,
    engine_option,
    jobs_option,
    lock_options,
    locked_option,
    plain_http_option,
    registry_options,
    rest_of_command_line,
    spec_options,
    step_options,
    subdir_option,
)
from envbuild.cli.session import Session

__all__ = ["run"]


@click.command(cls=CommandWithRest, short_help="Run notebooks, or any command.")
@click.argument("arguments", nargs=-1, metavar="[SOURCE] [NOTEBOOK...]")
@subdir_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where executed notebooks go. Default: beside the originals, as NAME.executed.ipynb.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="For each cell. Default: none.",
)
@click.option(
    "-p",
    "--parameter",
    "parameters",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="A variable the notebooks start with; VALUE is JSON, or else text.",
)
@engine_option
@locked_option
@jobs_option
@registry_options
@plain_http_option
@lock_options
@spec_options
@step_options
@common_options
def run(
    session: Session,
    arguments: tuple[str, ...],
    output: Path | None,
    timeout: float | None,
    parameters: tuple[tuple[str, str], ...],
    locked: bool,
) -> None:
    """Run notebooks from top to bottom in the repository's environment, or the command after --.

    Notebooks are not changed; what comes of them is written elsewhere. Exit code 1: one of them failed.
    """
    command = rest_of_command_line()
    values = _values(parameters)
    source, notebooks = _split(arguments)
    if command is None and not notebooks:
        raise click.UsageError("name a notebook, or a command after --")
    if command is not None and (notebooks or not command or session.console.machine):
        raise click.UsageError(
            "a command after -- goes with neither notebooks nor --json, and must not be empty"
        )
    if command is not None:
        _run_command(session, source, command, locked=locked)
    else:
        _run_notebooks(session, source, notebooks, output, timeout, values, locked=locked)


def _split(arguments: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """``(source, notebooks)``: a first argument that is a notebook means the current directory."""
    if not arguments or arguments[0].endswith(".ipynb"):
        return ".", arguments
    return arguments[0], arguments[1:]


def _values(parameters: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """The variables of ``--parameter``.

    >>> _values((("n", "3"), ("label", "a b"), ("flag", "true")))
    {'n': 3, 'label': 'a b', 'flag': True}
    """
    values: dict[str, Any] = {}
    for name, text in parameters:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise click.UsageError(f"{name!r} is not the name of a variable")
        try:
            # The parser's NaN and Infinity are neither JSON nor Python.
            values[name] = json.loads(text, parse_constant=_refuse)
        except ValueError:
            values[name] = text
    return values


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _run_command(session: Session, source: str, command: tuple[str, ...], *, locked: bool) -> None:
    from envbuild.cli.running import environment_image
    from envbuild.notebook.execute import run_command

    project = session.project(source)
    engine, image = environment_image(session, project, locked=locked)
    directory = session.working_directory(project)
    code = run_command(image, directory, command, engine=engine, reporter=session.console)
    raise click.exceptions.Exit(code)


def _run_notebooks(
    session: Session,
    source: str,
    notebooks: tuple[str, ...],
    output: Path | None,
    timeout: float | None,
    parameters: dict[str, Any],
    *,
    locked: bool,
) -> None:
    from envbuild.cli.documents import run_document
    from envbuild.cli.running import environment_image
    from envbuild.notebook.execute import execute
    from envbuild.notebook.select import select_notebook

    project = session.project(source)
    selected = [select_notebook(project.repo, notebook, Path.cwd()) for notebook in notebooks]
    engine, image = environment_image(session, project, locked=locked)
    results = execute(
        image,
        session.working_directory(project),
        selected,
        engine=engine,
        store=session.store,
        reporter=session.console,
        output=output,
        timeout=timeout,
        parameters=parameters,
    )
    for result in results:
        if result.error is not None:
            session.console.message(result.error)
        elif result.result is not None:
            session.console.result(str(result.result))
    session.console.document(run_document(results, engine.name, session.console.rounded_seconds))
    if any(result.error for result in results):
        raise click.exceptions.Exit(1)
