"""Where images go on this machine: names in the cache, files, Docker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.session import Session
from envbuild.cli.text import byte_size, count

if TYPE_CHECKING:
    from envbuild.config import Settings
    from envbuild.image.model import Image
    from envbuild.image.output import Output

__all__ = ["image_rows", "load_option", "output_option", "place_images"]

output_option = click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="PLACE",
    help="Write it to oci:DIRECTORY or archive:FILE; repeatable.",
)
load_option = click.option("--load", is_flag=True, help="Give it to Docker.")


def place_images(
    session: Session,
    images: Sequence[Image],
    *,
    names: Sequence[str],
    places: Sequence[Output],
    named: Sequence[str],
    load: bool,
    settings: Settings,
) -> None:
    """Record ``images`` (one per platform) under ``names``, write and load them.

    Parameters:
        named: what they are called in files.

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
    if load:
        from envbuild.engine import choose

        _, docker = session.engines(settings)
        choose(docker.name, [docker])
        docker.load(_native(images), names, reporter=session.console)


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
