"""``envbuild build``: assemble the image."""

from __future__ import annotations

import click

from envbuild.cli.delivery import delivery_options, parse_delivery
from envbuild.cli.options import (
    common_options,
    compression_option,
    jobs_option,
    lock_options,
    locked_option,
    platform_option,
    source_argument,
    spec_options,
)
from envbuild.cli.session import Session

__all__ = ["build"]


@click.command(short_help="Assemble the image.")
@source_argument
@delivery_options
@locked_option
@compression_option
@jobs_option
@platform_option
@lock_options
@spec_options
@common_options
def build(
    session: Session, source: str, tags: tuple[str, ...], outputs: tuple[str, ...], load: bool, locked: bool
) -> None:
    """Assemble the image: what is locked, and the repository's files on top.

    The result is kept in the cache. Nothing of the repository is executed.
    """
    from envbuild.base.host import host_platform

    project = session.project(source)
    platforms = project.settings.platforms or (host_platform(),)
    delivery = parse_delivery(tags, outputs, load, platforms)
    file = session.ensure_lock(project, platforms, locked=locked)
    builder = session.builder(file.lock, project.settings)
    images = builder.complete_images(file.lock, file.data, platforms, project.repo)
    delivery.deliver(
        session,
        images,
        lock=file.lock,
        lock_path=str(file.path) if file.path else None,
        settings=project.settings,
    )
