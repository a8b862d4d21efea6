"""Locking for one command: the lock a repository has, or a new one, with what the settings say."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envbuild.backend.locking import SourceBuilder
    from envbuild.cli.session import Project, Session
    from envbuild.lock.ensure import LockFile
    from envbuild.lock.model import Lock

__all__ = ["new_lock", "project_lock", "recompile"]


def project_lock(session: Session, project: Project, platforms: Sequence[str], *, locked: bool) -> LockFile:
    """The repository's lock for ``platforms``; made anew when need be, unless ``locked``."""
    from envbuild.lock.compiled import check_compiled
    from envbuild.lock.ensure import ensure_lock
    from envbuild.plan import environment_id

    def make(previous: Lock | None) -> Lock:
        known = [target.platform for target in previous.targets] if previous else []
        return new_lock(session, project, sorted({*known, *platforms}), previous)

    session.show_problems(project.spec)
    check_compiled(
        project.repo, project.spec, previous=None, platform=min(platforms), reporter=session.console
    )
    file = ensure_lock(
        project.repo,
        project.spec,
        store=session.store,
        platforms=platforms,
        locked=locked,
        make=make,
        reporter=session.console,
    )
    session.console.identify(
        environment=environment_id(file.lock), lock=f"sha256:{hashlib.sha256(file.data).hexdigest()}"
    )
    return file


def new_lock(
    session: Session, project: Project, platforms: Sequence[str], previous: Lock | None, **upgrades: Any
) -> Lock:
    """Lock ``project``; ``upgrades`` as for :func:`envbuild.lock.make.make_lock`."""
    from datetime import UTC, datetime

    from envbuild.cli.bases import lock_bases
    from envbuild.lock.make import make_lock

    settings = project.settings
    return make_lock(
        project.spec,
        repo=project.repo,
        store=session.store,
        environment=settings.tool_environment(session.environment),
        mirrors=session.mirrors(settings),
        platforms=platforms,
        now=datetime.now(UTC),
        reporter=session.console,
        previous=previous,
        exclude_newer=settings.exclude_newer,
        resolver=resolver(session, project),
        channel_mirrors=settings.channel_mirrors,
        offline=settings.offline,
        **lock_bases(session, project, platforms, previous, upgrades),
        builders=partial(_source_builder, session, project),
        **upgrades,
    )


def recompile(
    session: Session,
    project: Project,
    source: str,
    platforms: Sequence[str],
    previous: Lock | None,
    *,
    check: bool,
    **upgrades: Any,
) -> Project:
    """``project`` with its pip-compiled file brought up to date, if it has one and pip-tools is used.

    ``check`` and ``upgrades`` as for :func:`envbuild.lock.compiled.update_compiled`.
    """
    from envbuild.cli.bases import offered_bases
    from envbuild.lock.compiled import update_compiled
    from envbuild.lock.pip_tools import PipTools

    if resolver(session, project) != PipTools.name:
        return project
    settings = project.settings
    changed = update_compiled(
        project.repo,
        project.spec,
        PipTools(session.store, settings.tool_environment(session.environment), settings.offline),
        previous=previous,
        platform=sorted(platforms)[0],
        exclude_newer=settings.exclude_newer,
        reporter=session.console,
        recipes=offered_bases(session, project, platforms, previous.base if previous else None),
        check=check,
        **upgrades,
    )
    return session.project(source) if changed else project


def resolver(session: Session, project: Project) -> str:
    """What resolves versions: what is configured, else pip-tools where its files are, else uv."""
    from envbuild.lock.compiled import find_compiled

    if project.settings.resolver is not None:
        return project.settings.resolver
    return "uv" if find_compiled(project.repo, project.spec) is None else "pip-tools"


def _source_builder(
    session: Session, project: Project, system: Callable[[], Lock], **options: Any
) -> SourceBuilder:
    """What builds wheels while locking; see :class:`envbuild.lock.from_source.BuilderFactory`."""
    from envbuild.backend.locking import SourceBuilder
    from envbuild.cli.building import workshop

    return SourceBuilder(
        store=session.store,
        repo=project.repo,
        git=session.git(project.settings),
        system=system,
        workshop=partial(workshop, session, project.settings),
        offline=project.settings.offline,
        **options,
    )
