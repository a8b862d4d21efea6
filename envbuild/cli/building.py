"""Building for one command: what assembles a lock's images, with what the settings say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path

    from envbuild.backend.hooks import Hooks
    from envbuild.backend.workshop import Workshop
    from envbuild.build import Builder
    from envbuild.cli.session import Session
    from envbuild.config import Settings
    from envbuild.image.model import Image
    from envbuild.lock.model import Artifact, Lock, Wheel
    from envbuild.source import Repo

__all__ = ["lock_builder", "workshop"]


def lock_builder(
    session: Session, lock: Lock, settings: Settings, repo: Repo | None = None, *, check: bool = False
) -> Builder:
    """What builds ``lock``; its downloads end with this command.

    Parameters:
        repo: the repository, when there may be something of it to install.
        check: run every step of the build twice and compare.
    """
    from envbuild.build import Builder
    from envbuild.cli.bases import base_config, interpreter_of
    from envbuild.lock.sources import lock_fetcher
    from envbuild.sandbox.steps import StepLayers

    fetcher = lock_fetcher(
        lock,
        store=session.store,
        environment=settings.tool_environment(session.environment),
        configured=settings.source_addresses,
        channel_mirrors=settings.channel_mirrors,
        offline=settings.offline,
    )
    click.get_current_context().with_resource(fetcher)

    def fetch(artifacts: Sequence[Artifact]) -> Sequence[Path]:
        futures = [fetcher.submit(artifact) for artifact in artifacts]
        return [future.result() for future in futures]

    def in_system(platform: str) -> Workshop:
        return workshop(session, settings, lock, platform, fetch)

    def restore(artifacts: Sequence[Artifact]) -> None:
        from envbuild.backend.restoring import Restorer

        if artifacts and repo is not None:
            git = session.git(settings)
            Restorer(lock, session.store, repo, git, in_system, fetch, settings.offline)(artifacts)

    def projects(platform: str) -> Sequence[Wheel]:
        from envbuild.backend.projects import ProjectBuilder

        return ProjectBuilder(lock, repo, in_system, session.console)(platform) if repo is not None else ()

    layers = session.layers(settings)
    return Builder(
        store=session.store,
        fetcher=fetcher,
        reporter=session.console,
        layers=layers,
        interpreter=partial(interpreter_of, session, settings, fetcher),
        base_config=partial(base_config, session),
        steps=StepLayers(
            store=session.store,
            layers=layers,
            sandbox=partial(session.sandbox, settings),
            reporter=session.console,
            limits=session.limits(settings),
            compression=settings.compression,
            check=check,
        ),
        restore=restore,
        projects=projects,
        compression=settings.compression,
        jobs=settings.jobs,
    )


def workshop(
    session: Session,
    settings: Settings,
    lock: Lock,
    platform: str,
    fetch: Callable[[Sequence[Artifact]], Sequence[Path]],
) -> Workshop:
    """Where wheels are built from source, in the system of ``lock``; see :class:`Workshop` for ``fetch``."""
    from envbuild.backend.hooks import Hooks
    from envbuild.backend.workshop import Workshop
    from envbuild.base.host import host_platform
    from envbuild.image.finding import without_lost
    from envbuild.plan import system_layers

    host = host_platform()

    def system() -> Image:
        image = lock_builder(session, lock, settings).system_image(lock, host)
        session.layers(settings).bring(image.layers, session.console)
        return image

    def hooks() -> Hooks:
        image = without_lost(system)
        return Hooks(
            session.sandbox(settings),
            image,
            session.store,
            session.console,
            network="build" in settings.network,
            limits=session.limits(settings),
        )

    base = lock.base
    key = system_layers(lock, host)[-1].key
    executable = base.executable(host)
    return Workshop(session.store, hooks, key, base.python, executable, base.glibc, platform, host, fetch)
