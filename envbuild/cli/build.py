"""``envbuild build``: assemble the image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from envbuild.cli.ci import Job, ci_options
from envbuild.cli.delivery import Delivery, delivery_options, parse_delivery
from envbuild.cli.options import (
    common_options,
    compression_option,
    contents_options,
    engine_option,
    jobs_option,
    lock_options,
    locked_option,
    platform_option,
    registry_options,
    source_argument,
    spec_options,
    step_options,
)
from envbuild.cli.session import Project, Session

__all__ = ["build"]


@click.command(short_help="Assemble the image.")
@source_argument
@delivery_options
@ci_options
@engine_option
@click.option(
    "--check-reproducible",
    is_flag=True,
    help="Run what is executed a second time and fail when it does not give the same files.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Warnings about the repository count as errors: a notebook whose kernel cannot be had, for example.",
)
@locked_option
@compression_option
@jobs_option
@platform_option
@registry_options
@lock_options
@contents_options
@spec_options
@step_options
@common_options
def build(
    session: Session,
    source: str,
    tags: tuple[str, ...],
    outputs: tuple[str, ...],
    load: bool,
    push: bool,
    variables_file: Path | None,
    summary_file: Path | None,
    check_reproducible: bool,
    strict: bool,
    locked: bool,
) -> None:
    """Assemble the image: what is locked, and the repository's files on top.

    The result is kept in the cache. What has to be executed for it runs in a sandbox. A Dockerfile, and what
    only repo2docker knows how to install, is built by Docker instead.
    """
    from envbuild.base.host import host_platform
    from envbuild.spec.findings import refuse_errors

    job = Job(variables_file, summary_file)
    with job.told_of_failure():
        project = session.project(source)
        if strict:
            refuse_errors(project.spec, strict=True)
        platforms = project.settings.platforms or (host_platform(),)
        delivery = parse_delivery(session, tags, outputs, load, push, platforms)
        if project.spec.engine_build is not None:
            document = _build_by_engine(session, project, platforms, delivery, strict=strict)
        else:
            document = _assemble(
                session, project, platforms, delivery, locked=locked, check_reproducible=check_reproducible
            )
    job.tell(project.spec.name, document)


def _build_by_engine(
    session: Session, project: Project, platforms: Sequence[str], delivery: Delivery, *, strict: bool
) -> dict[str, Any]:
    from envbuild.builder.contract import refuse_lacks

    built = [session.engine_built(project, platform) for platform in platforms]
    lacks = [lack for one in built for lack in one.lacks]
    if strict:
        refuse_lacks(lacks)
    return delivery.deliver(
        session,
        [one.image for one in built],
        name=project.spec.name,
        env=None,
        lock_path=None,
        settings=project.settings,
        origin=project.repo.origin,
        lacks=lacks,
    )


def _assemble(
    session: Session,
    project: Project,
    platforms: Sequence[str],
    delivery: Delivery,
    *,
    locked: bool,
    check_reproducible: bool,
) -> dict[str, Any]:
    from envbuild.attest.attaching import Subject
    from envbuild.cli.building import lock_builder
    from envbuild.cli.locking import project_lock
    from envbuild.cli.sharing import environment_reference
    from envbuild.image.finding import without_lost
    from envbuild.plan import environment_id

    file = project_lock(session, project, platforms, locked=locked)
    builder = lock_builder(session, file.lock, project.settings, project.repo, check=check_reproducible)
    env = environment_id(file.lock)
    layers = session.layers(project.settings)
    layers.consult([*environment_reference(project.settings, env), *delivery.replaced])

    def make() -> dict[str, Any]:
        images = builder.complete_images(file.lock, file.data, platforms, project.repo, project.post_build)
        return delivery.deliver(
            session,
            images,
            name=file.lock.name,
            env=env,
            lock_path=str(file.path) if file.path else None,
            settings=project.settings,
            origin=project.repo.origin,
            subject=Subject(
                file.lock, file.data, images, project.settings.compression, origin=project.repo.origin
            ),
            environments=partial(builder.environments, file.lock, file.data, images),
        )

    return without_lost(make)
