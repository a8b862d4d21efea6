"""``envbuild build``: assemble the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import (
    common_options,
    compression_option,
    jobs_option,
    lock_options,
    locked_option,
    source_argument,
    spec_options,
)
from envbuild.cli.session import Session
from envbuild.cli.text import byte_size, columns, count

if TYPE_CHECKING:
    from envbuild.image.model import Image

__all__ = ["build"]


@click.command()
@source_argument
@click.option("-t", "--tag", "tags", multiple=True, metavar="NAME[:TAG]", help="Name the image; repeatable.")
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="PLACE",
    help="Write it to oci:DIRECTORY or archive:FILE; repeatable.",
)
@click.option("--load", is_flag=True, help="Give it to Docker.")
@locked_option
@compression_option
@jobs_option
@lock_options
@spec_options
@common_options
def build(
    session: Session, source: str, tags: tuple[str, ...], outputs: tuple[str, ...], load: bool, locked: bool
) -> None:
    """Assemble the image: what is locked, and the repository's files on top.

    The result is kept in the cache. Nothing of the repository is executed.
    """
    from envbuild.base.interpreter import host_platform
    from envbuild.cli.documents import build_document
    from envbuild.engine import choose
    from envbuild.image.layout import image_index
    from envbuild.image.output import parse_output, write_output
    from envbuild.image.reference import full_name
    from envbuild.plan import environment_id
    from envbuild.store.images import record_image

    names = [full_name(tag) for tag in tags]
    places = [parse_output(output) for output in outputs]
    project = session.project(source)
    platforms = project.settings.platforms or (host_platform(),)
    lock = session.ensure_lock(project, platforms, locked=locked)
    builder = session.builder(lock.lock, project.settings)
    images = builder.complete_images(lock.lock, lock.data, platforms, project.repo)
    for image in images:
        for name in names or [f"{lock.lock.name}:latest"]:
            record_image(session.store, name, image.platform, image.manifest)
    for place in places:
        with session.console.stage("write") as stage:
            stage.detail(str(place))
            write_output(images, session.store, place, names)
    if load:
        _, docker = session.engines(project.settings)
        choose("docker", [docker])
        docker.load(_native(images), names or [f"{lock.lock.name}:latest"], reporter=session.console)
    document = build_document(
        images,
        index=image_index(images, session.store).digest if len(images) > 1 else None,
        env=environment_id(lock.lock),
        tags=names,
        outputs=[str(place) for place in places],
        lock=str(lock.path) if lock.path else None,
        seconds=session.console.rounded_seconds,
    )
    session.console.result(*_text(document))
    session.console.document(document)


def _native(images: Sequence[Image]) -> Image:
    """The image that runs here, else the first one."""
    from envbuild.base.interpreter import host_platform

    return next((image for image in images if image.platform == host_platform()), images[0])


def _text(document: dict[str, Any]) -> list[str]:
    rows = []
    for platform, image in document["platforms"].items():
        cached = sum(layer["cached"] for layer in image["layers"])
        layers = f"{count(len(image['layers']), 'layer')} ({cached} cached), {byte_size(image['size'])}"
        rows += [("platform", platform), ("image ID", image["image_id"]), ("digest", image["digest"])]
        rows += [("layers", layers)]
    if len(document["platforms"]) > 1:
        rows.append(("index", document["digest"]))
    rows += [("tag", tag) for tag in document["tags"]]
    rows += [("written", place) for place in document["outputs"]]
    return columns(rows)
