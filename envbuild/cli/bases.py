"""The base of one command: which one is asked for, what it is, and how its Python is started."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from envbuild.config import Settings, setting_place
from envbuild.image.reference import parse_reference
from envbuild.spec.model import BaseRequest

if TYPE_CHECKING:
    from envbuild.base.interpreter import Interpreter
    from envbuild.base.recipe import BaseRecipe
    from envbuild.cli.session import Project, Session
    from envbuild.fetch import Fetcher
    from envbuild.image.base_config import BaseConfig
    from envbuild.image.model import Image
    from envbuild.lock.model import Base, Lock
    from envbuild.registry_base.locking import ImageLocker

__all__ = [
    "base_config",
    "base_request",
    "image_locker",
    "interpreter_of",
    "lock_bases",
    "offered_bases",
]


def base_request(
    settings: Settings, flags: Mapping[str, Any], *, pyproject: str | None, own: str | None
) -> BaseRequest | None:
    """The registry's image that is asked for as the base, and where; None when a base that fits is made.

    Parameters:
        flags: settings from the command line; ``pyproject`` and ``own`` the texts of the repository's files.
    """
    if settings.base is None:
        return None
    place = None if flags.get("base") else setting_place("base", pyproject=pyproject, own=own)
    file, line = place or (None, None)
    return BaseRequest(str(parse_reference(settings.base)), file, line)


def image_locker(session: Session, settings: Settings) -> ImageLocker:
    """What looks at images in registries."""
    from envbuild.registry_base.locking import ImageLocker

    def bring(layers: Any, reporter: Any) -> None:
        session.layers(settings).bring(layers, reporter)

    return ImageLocker(session.store, lambda: session.registries, bring, session.console)


def offered_bases(
    session: Session, project: Project, platforms: Sequence[str], kept: Base | None
) -> Sequence[BaseRecipe]:
    """The bases a lock of ``project`` may have: those that envbuild makes, or the one that is asked for.

    Parameters:
        kept: that of an earlier lock, whose digest counts; None to ask the registry again.
    """
    from envbuild.base.recipe import load_recipes

    recipes = load_recipes()
    if project.spec.base is None:
        return recipes
    locker = image_locker(session, project.settings)
    return (locker.lock(project.spec.base, platforms, kept, recipes[-1]),)


def lock_bases(
    session: Session,
    project: Project,
    platforms: Sequence[str],
    previous: Lock | None,
    upgrades: Mapping[str, Any],
) -> dict[str, Any]:
    """What :func:`envbuild.lock.make.make_lock` wants to know about bases; ``upgrades`` are for it, too."""
    renewed = upgrades.get("upgrade") or upgrades.get("upgrade_base")
    kept = previous.base if previous is not None and not renewed else None
    return {
        "recipes": offered_bases(session, project, platforms, kept),
        "installed": image_locker(session, project.settings).packages,
    }


def interpreter_of(
    session: Session, settings: Settings, fetcher: Fetcher, base: Base, image: Callable[[], Image]
) -> Interpreter:
    """The Python of ``base``, to compile bytecode with; ``image`` makes the base's image."""
    from envbuild.base.interpreter import interpreter
    from envbuild.base.signed import check_signed

    if base.image is not None:
        from envbuild.sandbox.interpreter import confined_interpreter

        return confined_interpreter(
            base,
            image,
            session.sandbox(settings),
            store=session.store,
            limits=session.limits(settings),
            reporter=session.console,
        )
    check = partial(
        check_signed,
        base=base,
        store=session.store,
        mirrors=session.mirrors(settings),
        reporter=session.console,
        offline=settings.offline,
    )
    return interpreter(base, store=session.store, fetch=fetcher.fetch, check=check)


def base_config(session: Session, base: Base, platform: str) -> BaseConfig | None:
    """The config of the image that ``base`` is; None when a recipe made the base."""
    if base.image is None:
        return None
    from envbuild.registry_base.pinned import pinned_config

    return pinned_config(base.image, platform, store=session.store, registries=lambda: session.registries)
