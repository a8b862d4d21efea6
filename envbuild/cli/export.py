"""``envbuild export``: the lock in formats of other tools."""

from __future__ import annotations

from pathlib import Path

import click

from envbuild.cli.options import (
    common_options,
    lock_options,
    locked_option,
    output_option,
    platform_option,
    source_argument,
    spec_options,
)
from envbuild.cli.session import Session

__all__ = ["export"]


@click.command(short_help="Write the lock in a format of other tools.")
@source_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["pylock", "requirements", "conda-lock"]),
    default="pylock",
    show_default=True,
    help="pylock.toml (PEP 751), requirements.txt with hashes, or conda-lock.yml.",
)
@output_option
@locked_option
@platform_option
@lock_options
@spec_options
@common_options
def export(session: Session, source: str, form: str, output: Path | None, locked: bool) -> None:
    """Write the environment of envbuild.lock as pylock.toml, requirements.txt or conda-lock.yml.

    What is not locked yet is locked first. Without --platform everything in the lock is exported.
    """
    from envbuild.base.host import host_platform
    from envbuild.cli.documents import export_document
    from envbuild.cli.files import give
    from envbuild.cli.locking import project_lock
    from envbuild.lock.ensure import read_lock
    from envbuild.lock.export import check_name
    from envbuild.lock.export import export as render

    if output is not None:
        check_name(output.name, form)
    project = session.project(source)
    found = read_lock(project.repo, session.store)
    known = tuple(target.platform for target in found.lock.targets) if found else ()
    platforms = project.settings.platforms or known or (host_platform(),)
    file = project_lock(session, project, platforms, locked=locked)
    text = render(file.lock, form, platforms=platforms, locate=session.addresses(file.lock, project.settings))
    if form != "conda-lock" and any(target.conda for target in file.lock.targets):
        session.console.warn(f"the lock has conda packages, which are not in {form}: use conda-lock")
    give(session.console, text, output)
    session.console.document(export_document(form, text, output, platforms, session.console.rounded_seconds))
