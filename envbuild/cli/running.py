"""The image that a project's server and notebooks run in, and what runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envbuild.cli.session import Project, Session
    from envbuild.engine import Engine
    from envbuild.image.model import Image

__all__ = ["environment_image"]


def environment_image(session: Session, project: Project, *, locked: bool) -> tuple[Engine, Image]:
    """An engine that works, and this machine's image without the repository's files."""
    from envbuild.base.host import host_platform
    from envbuild.cli.building import lock_builder
    from envbuild.cli.locking import project_lock
    from envbuild.cli.sharing import environment_reference
    from envbuild.engine import choose
    from envbuild.engine.network import OnThisNetwork
    from envbuild.image.finding import without_lost
    from envbuild.plan import environment_id
    from envbuild.store.images import record_image

    platform = host_platform()
    if project.spec.engine_build is not None:
        return _engine_built_image(session, project, platform)
    engines: Sequence[Engine] = session.engines(project.settings)
    engine = OnThisNetwork(choose(project.settings.engine, engines), session.environment)
    session.console.note(f"engine: {engine.name}")
    file = project_lock(session, project, (platform,), locked=locked)
    builder = lock_builder(session, file.lock, project.settings, project.repo)
    env = environment_id(file.lock)
    session.layers(project.settings).consult(environment_reference(project.settings, env))

    def ready() -> Image:
        if project.post_build is None:
            (image,) = builder.environment(file.lock, file.data, (platform,))
        else:
            script = project.post_build
            image = builder.executed_environment(file.lock, file.data, platform, project.repo, script)
        engine.prepare(image, reporter=session.console)
        return image

    image = without_lost(ready)
    record_image(session.store, f"{file.lock.name}:environment", platform, image.manifest)
    return engine, image


def _engine_built_image(session: Session, project: Project, platform: str) -> tuple[Engine, Image]:
    from envbuild.engine import choose
    from envbuild.store.images import record_image

    built = session.engine_built(project, platform)
    for lack in built.lacks:
        session.console.warn(f"{project.spec.name}: the image {lack.what}: {lack.why} ({lack.remedy})")
    # Who designed the image decides about its users and links, which bubblewrap is not made for.
    docker = session.engines(project.settings).docker
    engine = choose(docker.name, [docker])
    session.console.note(f"engine: {engine.name}")
    record_image(session.store, f"{project.spec.name}:environment", platform, built.image.manifest)
    return engine, built.image
