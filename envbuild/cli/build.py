"""``envbuild build``: assemble the image, here or in a cluster; or those of a fleet."""

from __future__ import annotations

from pathlib import Path

import click

from envbuild.cli.ci import Job, ci_options
from envbuild.cli.delivery import delivery_options, parse_delivery
from envbuild.cli.job_options import fleet_options, job_options
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
@fleet_options
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
    fleet: Path | None,
    check: bool,
    variables_file: Path | None,
    summary_file: Path | None,
    check_reproducible: bool,
    strict: bool,
    locked: bool,
) -> None:
    """Assemble the image: what is locked, and the repository's files on top.

    The result is kept in the cache. What has to be executed for it runs in a sandbox. A Dockerfile, and what
    only repo2docker knows how to install, is built by Docker instead.

    With --on kubernetes it is built by a Job of the cluster, and pushed. With --fleet every environment of a
    fleet that has changed is built and pushed, and fleet.lock says which image each is.
    """
    from envbuild.base.host import host_platform
    from envbuild.spec.findings import refuse_errors

    local = bool(outputs or load)
    switches = {"--strict": strict, "--check-reproducible": check_reproducible}
    if fleet is not None:
        from envbuild.cli.batch import build_fleet

        if source != "." or tags or local or detach or variables_file or summary_file:
            raise UsageError(
                "--fleet builds what its file says: without SOURCE, -t, -o, --load, --detach, --variables,"
                " --summary",
                code="fleet-and-source",
                remedy="leave them out; --json tells what was built",
            )
        build_fleet(session, fleet, on=on, check=check, switches=switches)
        return
    if check or (detach and on != "kubernetes"):
        raise UsageError(
            "--check goes with --fleet" if check else "--detach goes with --on kubernetes",
            code="usage",
            remedy="`envbuild build --help` shows what is possible",
        )
    job = Job(variables_file, summary_file)
    with job.told_of_failure():
        if on == "kubernetes":
            from envbuild.cli.submitting import build_on_cluster

            name, document = build_on_cluster(
                session, source, tags, local=local, detach=detach, switches=switches | {"--locked": locked}
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
