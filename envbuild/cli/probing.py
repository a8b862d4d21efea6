"""Images for probes: brought here, or only looked at for a cluster, and started."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from envbuild.errors import EnvbuildError

if TYPE_CHECKING:
    from envbuild.cli.session import Session
    from envbuild.engine import Engine
    from envbuild.image.model import Image
    from envbuild.lock.model import CondaPackage, Lock, Wheel
    from envbuild.probe.model import Report

__all__ = ["ProbedImage", "probes_here", "probes_in_cluster"]

# What envbuild adds to every environment; the kernel has imported the one already.
_OWN = frozenset({"ipykernel", "pip"})


@dataclass(frozen=True, slots=True)
class ProbedImage:
    """What was found about an image; ``digest`` and ``image_id`` are None when only nodes looked at it."""

    name: str
    engine: str
    packages: tuple[str, ...]
    report: Report
    digest: str | None = None
    image_id: str | None = None
    node: str | None = None


def probes_here(
    session: Session, wanted: Iterable[tuple[str, str]], *, repeats: int
) -> Iterator[ProbedImage]:
    """Probe images (name and place) on an engine of this machine, one after the other."""
    from envbuild.probe.local import probe

    for name, place in wanted:
        engine, image, packages = _image(session, place)
        session.console.took([image], None)
        report = probe(
            image,
            packages=packages,
            engine=engine,
            store=session.store,
            reporter=session.console,
            repeats=repeats,
        )
        yield ProbedImage(name, engine.name, packages, report, image.manifest.digest, image.image_id)


def probes_in_cluster(
    session: Session,
    wanted: Iterable[tuple[str, str]],
    *,
    repeats: int,
    node: str | None,
) -> Iterator[ProbedImage]:
    """Probe images (name and reference) in pods of a cluster, one after the other."""
    from envbuild.cli.looking import inspector
    from envbuild.image.reference import parse_reference
    from envbuild.probe.pod import probe_in_cluster

    settings = session.settings
    cluster = session.cluster
    for name, reference in wanted:
        packages: tuple[str, ...] = ()
        try:
            seen = inspector(session).look(reference)
            packages = _packages(seen.lock, seen.platforms[0])
        except EnvbuildError as error:  # nodes may reach a registry that this machine does not
            session.console.warn(f"{name}: what to import is not known: {error.message}")
        report = probe_in_cluster(
            parse_reference(reference),
            packages=packages,
            cluster=cluster,
            namespace=settings.namespace,
            node=node,
            pull_secrets=[settings.registry_secret] if settings.registry_secret else [],
            reporter=session.console,
            repeats=repeats,
        )
        yield ProbedImage(name, "kubernetes", packages, report, node=node)


def _image(session: Session, text: str) -> tuple[Engine, Image, tuple[str, ...]]:
    """What runs the image ``text`` here, the image, which is in the cache then, and what it was asked for."""
    from envbuild.base.host import host_platform
    from envbuild.cli.looking import inspector
    from envbuild.cli.running import environment_image
    from envbuild.engine import choose
    from envbuild.engine.network import OnThisNetwork
    from envbuild.image.reference import parse_reference
    from envbuild.pull import pull_image, take_images

    look, host = inspector(session), host_platform()
    place = look.place(text)
    if place.kind == "source":
        project = session.project(text)
        engine, image = environment_image(session, project, locked=False)
        lock = look.look(f"cache:{project.spec.name}:environment").lock
        return engine, image, _packages(lock, image.platform)
    medium = look.medium(place)
    seen = look.look_into(medium, place.kind)
    engines = session.engines(session.settings)
    # Who designed another image decides about its users and links, which bubblewrap is not made for.
    ours = seen.images[0].view.builder == "envbuild"
    fitting: Sequence[Engine] = engines if ours else (engines.docker, engines.podman)
    engine = OnThisNetwork(choose(session.settings.engine, fitting), session.environment)
    if place.kind == "registry":
        images = pull_image(
            parse_reference(place.text),
            platforms=(),
            native=host,
            store=session.store,
            registries=session.registries,
            reporter=session.console,
        ).images
    else:
        images = take_images(
            medium,
            platforms=(host,) if host in seen.platforms else (),
            store=session.store,
            jobs=session.settings.jobs,
            reporter=session.console,
        )
    return engine, images[0], _packages(seen.lock, images[0].platform)


def _packages(lock: Lock | None, platform: str) -> tuple[str, ...]:
    """What the user asked for, of what is in the image."""
    if lock is None:
        return ()
    with suppress(KeyError):
        target = lock.target(platform)
        packages: tuple[Wheel | CondaPackage, ...] = (*target.wheels, *target.conda)
        return tuple(sorted({package.name for package in packages if package.direct} - _OWN))
    return ()
