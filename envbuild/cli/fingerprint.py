"""``envbuild fingerprint``: what the environment is, seen from inside, and what differs from another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from envbuild.cli.options import (
    common_options,
    engine_option,
    environment_options,
    jobs_option,
    locked_option,
    subdir_option,
)
from envbuild.cli.session import Session

if TYPE_CHECKING:
    from envbuild.fingerprint.document import Fingerprint

__all__ = ["fingerprint"]


@click.command(short_help="Show what the environment is, from inside, and compare.")
@click.argument("source", default=".")
@subdir_option
@click.option("--files", is_flag=True, help="Also compare every installed file with what its package says.")
@click.option(
    "--against",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Show what differs from a saved fingerprint; exit code 1 when something does.",
)
@engine_option
@locked_option
@jobs_option
@environment_options
@common_options
def fingerprint(session: Session, source: str, files: bool, against: Path | None, locked: bool) -> None:
    """Print what the environment of SOURCE is for what runs in it: packages, Python, kernels, variables.

    Equal digests: the same environment. In containers, on hubs too, `envbuild-fingerprint` prints the same,
    and SOURCE may be a file with what was printed.
    """
    from envbuild.cli.fingerprint_documents import against_document
    from envbuild.fingerprint.document import read_fingerprint
    from envbuild.fingerprint.program import altered_files, difference_lines, differences, text_of

    before = read_fingerprint(against) if against is not None else None
    saved = source.endswith(".json") and Path(source).is_file()
    found = read_fingerprint(Path(source)) if saved else _taken(session, source, files=files, locked=locked)
    console = session.console
    if before is None:
        document = found.to_json()
        console.result(*text_of(document).splitlines())
        console.document(document)
    else:
        changes = differences(before.environment, found.environment)
        console.result(*(difference_lines(changes) or [f"the same: {found.digest}"]))
        for line in difference_lines(differences(_processor(before), _processor(found))):
            console.note(f"on another machine:{line[3:]}")
        console.document(against_document(before, found, console.rounded_seconds))
    altered = altered_files(found.environment)
    for line in altered:
        console.warn(f"not as it was installed: {line}")
    if altered or (before is not None and before.digest != found.digest):
        raise click.exceptions.Exit(1)


def _processor(of: Fingerprint) -> dict[str, object]:
    """What of the machine numbers can depend on."""
    return {name: of.machine.get(name) for name in ("processor", "processors")}


def _taken(session: Session, source: str, *, files: bool, locked: bool) -> Fingerprint:
    from envbuild.cli.running import environment_image
    from envbuild.fingerprint.taking import take_fingerprint

    project = session.project(source)
    engine, image = environment_image(session, project, locked=locked)
    return take_fingerprint(
        image,
        session.working_directory(project),
        engine=engine,
        store=session.store,
        reporter=session.console,
        files=files,
    )
