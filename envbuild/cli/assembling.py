"""Building an image on this machine, for one command."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from envbuild.cli.delivery import Delivery
from envbuild.cli.session import Project, Session
from envbuild.errors import MachineError

__all__ = ["build_here"]


def build_here(
    session: Session,
    project: Project,
    platforms: Sequence[str],
    delivery: Delivery,
    *,
    locked: bool,
    strict: bool,
    check_reproducible: bool,
) -> dict[str, Any]:
    """Build the images of ``project`` and deliver them; returns the document that ``--json`` prints.

    Parameters:
        locked: do not lock.
        strict: what an engine's image lacks is an error.
        check_reproducible: run every step twice and compare.
    """
    if project.spec.engine_build is not None:
        return _build_by_engine(session, project, platforms, delivery, strict=strict)
    _require_sandbox(session, project)
    return _assemble(
        session, project, platforms, delivery, locked=locked, check_reproducible=check_reproducible
    )


def _require_sandbox(session: Session, project: Project) -> None:
    """In the pod of a Job, say at once that what has to run cannot run there.

    Elsewhere, and with a shared cache, what would run may have been run before.

    Raises:
        MachineError: it cannot.
    """
    executions, settings = project.spec.executions, project.settings
    if not executions or settings.registry or not session.environment.get("ENVBUILD_JOB"):
        return
    try:
        session.sandbox(settings)
    except MachineError as error:
        what = ", ".join(dict.fromkeys(one.what for one in executions))
        raise MachineError(
            f"this pod lacks what a sandbox needs, without which {what} cannot run",
            code="no-sandbox-in-job",
            file=executions[0].file,
            line=executions[0].line,
            detail=error.message,
            remedy="allow it to pods by --pod-template (docs/jobs.md), build this where a sandbox works, or"
            " use a shared cache (--registry) that somebody has filled from there",
        ) from error


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
