"""``envbuild report``: one page about an environment, for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envbuild.cli.options import (
    common_options,
    engine_option,
    environment_options,
    jobs_option,
    locked_option,
    output_option,
    platform_option,
    source_argument,
)
from envbuild.cli.session import Project, Session

if TYPE_CHECKING:
    from datetime import datetime

    from envbuild.image.model import Image
    from envbuild.report.model import Report

__all__ = ["report"]


@click.command(short_help="Make a page that says what an environment is.")
@source_argument
@click.option("--image", metavar="IMAGE", help="An image to report on, instead of a repository.")
@output_option
@click.option(
    "--runs",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Where `envbuild run -o` has put executed notebooks, if not beside the originals; repeatable.",
)
@click.option("--with-time", is_flag=True, help="Also say when the page was made.")
@platform_option
@engine_option
@locked_option
@jobs_option
@environment_options
@common_options
def report(
    session: Session,
    source: str,
    image: str | None,
    output: Path | None,
    runs: tuple[Path, ...],
    with_time: bool,
    locked: bool,
) -> None:
    """Make a page that says what an environment is: layers, packages and their licences, kernels, notebooks.

    The page is one HTML file that needs nothing else. What of the environment is not built yet is built, and
    an image in a registry is read as a whole. The same lock and notebooks give the same page.
    """
    from datetime import UTC, datetime

    from envbuild.cli.files import give
    from envbuild.cli.report_documents import report_document
    from envbuild.report.page import page

    if output is None and not session.console.machine and sys.stdout.isatty():
        raise click.UsageError("name a file for the page: -o report.html")
    if image is not None and (runs or locked or source != "."):
        raise click.UsageError("--image goes with neither SOURCE nor --runs nor --locked")
    made = datetime.now(UTC).replace(microsecond=0) if with_time else None
    if image is not None:
        found = _of_image(session, image, made)
    else:
        found = _of_repository(session, session.project(source), runs, made, locked=locked)
    text = page(found)
    give(session.console, text, output)
    session.console.document(report_document(found, text, output))


def _of_image(session: Session, name: str, made: datetime | None) -> Report:
    from envbuild.cli.looking import inspector
    from envbuild.report.make import image_report

    looking = inspector(session)
    place = looking.place(name)
    medium = looking.medium(place)
    # Not those of a configuration, which are about what is built.
    wanted = session.settings.platforms if session.given("platforms") else ()
    seen = looking.look_into(medium, place.kind, wanted)
    return image_report(seen, medium, session.store, session.console, made=made)


def _of_repository(
    session: Session, project: Project, runs: Sequence[Path], made: datetime | None, *, locked: bool
) -> Report:
    from envbuild.base.host import host_platform
    from envbuild.cli.looking import inspector
    from envbuild.inspection.layout import CachedImage
    from envbuild.report.make import repository_report
    from envbuild.source import open_repo
    from envbuild.store.images import StoredImage, record_image, stored_images

    platforms = project.settings.platforms or (host_platform(),)
    images = _environments(session, project, platforms, locked=locked)
    name = f"{project.spec.name}:environment"
    for image in images:
        record_image(session.store, name, image.platform, image.manifest)
    made_now = {image.manifest for image in images}
    kept: tuple[StoredImage, ...] = tuple(
        one for one in stored_images(session.store) if one.name == name and one.manifest in made_now
    )
    medium = CachedImage(session.store, kept, lambda: session.registries)
    seen = inspector(session).look_into(medium, "cache", platforms)
    return repository_report(
        seen,
        medium,
        session.store,
        session.console,
        repo=project.repo,
        spec=project.spec,
        results=[open_repo(str(path)) for path in runs],
        made=made,
    )


def _environments(
    session: Session, project: Project, platforms: Sequence[str], *, locked: bool
) -> Sequence[Image]:
    """The environment images, with the bytes of all layers in the store."""
    from envbuild.cli.building import lock_builder
    from envbuild.cli.locking import project_lock
    from envbuild.cli.sharing import environment_reference
    from envbuild.image.finding import without_lost
    from envbuild.plan import environment_id

    if project.spec.engine_build is not None:
        return [session.engine_built(project, platform).image for platform in platforms]
    file = project_lock(session, project, platforms, locked=locked)
    builder = lock_builder(session, file.lock, project.settings, project.repo)
    layers = session.layers(project.settings)
    layers.consult(environment_reference(project.settings, environment_id(file.lock)))

    def make() -> Sequence[Image]:
        script = project.post_build
        if script is None:
            images = builder.environment(file.lock, file.data, platforms)
        else:
            images = tuple(
                builder.executed_environment(file.lock, file.data, platform, project.repo, script)
                for platform in platforms
            )
        for image in images:
            layers.bring(image.layers, session.console)
        return images

    return without_lost(make)
