"""The shared cache of one command: what finds layers, and what is published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from envbuild.errors import EnvbuildError
from envbuild.image.finding import StoredLayers
from envbuild.image.reference import Reference, parse_reference
from envbuild.registry.cache import IMPATIENT, SharedLayers
from envbuild.registry.registries import Registries

if TYPE_CHECKING:
    from envbuild.cli.session import Session
    from envbuild.config import Settings
    from envbuild.image.model import Image
    from envbuild.registry.publish import Published

__all__ = ["environment_reference", "noticing_losses", "publish", "shared_layers"]


# What a push says when it is not about the registry that is pushed to.
_LOST = frozenset({"blob-missing", "registry-lied"})


def shared_layers(session: Session, settings: Settings) -> SharedLayers:
    """What finds layers: in the cache on this machine, then in registries."""
    asked = Registries(
        session.environment,
        plain_http=settings.plain_http,
        offline=settings.offline,
        retries=IMPATIENT,
        warn=session.console.warn,
    )
    return SharedLayers(
        StoredLayers(session.store, settings.compression, settings.jobs),
        repository=parse_reference(settings.registry) if settings.registry else None,
        trusting=settings.registry_cache,
        offline=settings.offline,
        ask=click.get_current_context().with_resource(asked),
        fetch=session.registries,
        reporter=session.console,
    )


def environment_reference(settings: Settings, env: str) -> tuple[Reference, ...]:
    """Where the environment with the id ``env`` is in the shared cache, if there is one."""
    return (parse_reference(settings.registry).with_tag(env),) if settings.registry else ()


@contextmanager
def noticing_losses(session: Session, settings: Settings, images: Sequence[Image]) -> Iterator[None]:
    """While ``images`` are pushed.

    Raises:
        LayersLost: a layer that was found in a registry is not there, and can be made here.
    """
    try:
        yield
    except EnvbuildError as error:
        if error.code in _LOST:
            session.layers(settings).lost([layer for image in images for layer in image.layers], error)
        raise


def publish(
    session: Session, settings: Settings, env: str, environments: Sequence[Image], images: Sequence[Image]
) -> Published | None:
    """Put what was built into the shared cache, if there is one.

    Parameters:
        env: the environment's id.
        environments: the environment images that ``images`` are made on.
    """
    from envbuild.registry.publish import publish

    for reference in environment_reference(settings, env):
        others = [layer for image in images for layer in image.layers]
        return publish(
            environments,
            others,
            reference=reference,
            store=session.store,
            registries=session.registries,
            reporter=session.console,
        )
    return None
