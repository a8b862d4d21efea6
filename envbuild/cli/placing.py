"""Where images go on this machine: names in the cache, files, engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.session import Session
from envbuild.cli.text import byte_size, count

if TYPE_CHECKING:
    from envbuild.config import Settings
    from envbuild.engine import Docker
    from envbuild.image.model import Image
    from envbuild.image.output import Output

__all__ = ["image_rows", "keeper", "load_option", "output_option", "place_images"]

output_option = click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="PLACE",
    help="Write it to oci:DIRECTORY or archive:FILE; repeatable.",
)
load_option = click.option("--load", is_flag=True, help="Give it to Docker or podman; --engine says which.")


def place_images(
    session: Session,
    images: Sequence[Image],
    *,
    names: Sequence[str],
    places: Sequence[Output],
    named: Sequence[str],
    load: bool,
    settings: Settings,
) -> str | None:
    """Record ``images`` (one per platform) under ``names``, write and load them.

    Parameters:
        named: what they are called in files.

    Returns:
        The engine that was given one of them, if any.

    Raises:
        LayersLost: see :meth:`envbuild.image.finding.Layers.bring`.
    """
    from envbuild.store.images import record_image

    for image in images:
        for tag in names:
            record_image(session.store, tag, image.platform, image.manifest)
    if places:
        layers = [layer for image in images for layer in image.layers]
        session.layers(settings).bring(layers, session.console)
    for place in places:
        from envbuild.image.output import write_output

        with session.console.stage("write") as stage:
            stage.detail(str(place))
            write_output(images, session.store, place, named)
    if not load:
        return None
    engine = keeper(session, settings)
    engine.load(_native(images), names, reporter=session.console)
    return engine.name


def keeper(session: Session, settings: Settings) -> Docker:
    """The engine that gets images: the one that is named if it keeps any, else the first that works.

    Raises:
        MachineError: it does not work, or none does.
    """
    from envbuild.engine import choose

    engines = session.engines(settings)
    keepers = (engines.docker, engines.podman)
    named = settings.engine in [engine.name for engine in keepers]
    return choose(settings.engine if named else "auto", keepers)


def _native(images: Sequence[Image]) -> Image:
    """The image that runs here, else the first one."""
    from envbuild.base.host import host_platform

    return next((image for image in images if image.platform == host_platform()), images[0])


def image_rows(platforms: dict[str, Any]) -> list[tuple[str, str]]:
    """What the image of each platform is, for people."""
    rows = []
    for platform, image in platforms.items():
        layers = f"{_counted(image['layers'])}, {byte_size(image['size'])}"
        rows += [("platform", platform), ("image ID", image["image_id"]), ("digest", image["digest"])]
        rows += [("content", layers)]
    return rows


def _counted(layers: Sequence[dict[str, Any]]) -> str:
    """``34 layers (33 cached, 30 of them in the registry)``."""
    cached = sum(layer["cached"] for layer in layers)
    remote = sum(layer["found"] == "registry" for layer in layers)
    where = f", {remote} of them in the registry" if remote else ""
    return f"{count(len(layers), 'layer')} ({cached} cached{where})"
