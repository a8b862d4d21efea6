"""``envbuild build``: assemble the image, here or in a cluster."""

from __future__ import annotations

from pathlib import Path

import click

from envbuild.cli.ci import Job, ci_options
from envbuild.cli.delivery import delivery_options, parse_delivery
from envbuild.cli.job_options import job_options
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
from envbuild.cli.session import Session
from envbuild.errors import UsageError

__all__ = ["build"]


@click.command(short_help="Assemble the image.")
@source_argument
@delivery_options
@job_options
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
    on: str,
    detach: bool,
    variables_file: Path | None,
    summary_file: Path | None,
    check_reproducible: bool,
    strict: bool,
    locked: bool,
) -> None:
    """Assemble the image: what is locked, and the repository's files on top.

    The result is kept in the cache. What has to be executed for it runs in a sandbox. A Dockerfile, and what
    only repo2docker knows how to install, is built by Docker instead.

    With --on kubernetes it is built by a Job of the cluster, and pushed.
    """
    from envbuild.base.host import host_platform
    from envbuild.spec.findings import refuse_errors

    local = bool(outputs or load)
    if detach and on != "kubernetes":
        raise UsageError(
            "--detach goes with --on kubernetes",
            code="usage",
            remedy="`envbuild build --help` shows what is possible",
        )
    job = Job(variables_file, summary_file)
    with job.told_of_failure():
        if on == "kubernetes":
            from envbuild.cli.submitting import build_on_cluster

            switches = {"--locked": locked, "--strict": strict, "--check-reproducible": check_reproducible}
            name, document = build_on_cluster(
                session, source, tags, local=local, detach=detach, switches=switches
            )
        else:
            from envbuild.cli.assembling import build_here

            project = session.project(source)
            if strict:
                refuse_errors(project.spec, strict=True)
            platforms = project.settings.platforms or (host_platform(),)
            delivery = parse_delivery(session, tags, outputs, load, push, platforms)
            name = project.spec.name
            document = build_here(
                session,
                project,
                platforms,
                delivery,
                locked=locked,
                strict=strict,
                check_reproducible=check_reproducible,
            )
    if document is not None:
        job.tell(name, document)
