"""``envbuild push``: images that were built before, to registries."""

from __future__ import annotations

import click

from envbuild.cli.delivery import pushed_rows
from envbuild.cli.looking import inspector
from envbuild.cli.options import (
    audit_options,
    common_options,
    metrics_options,
    plain_http_option,
)
from envbuild.cli.session import Session
from envbuild.cli.text import columns
from envbuild.config import PLATFORMS
from envbuild.errors import UsageError

__all__ = ["push"]

_FILES = ("oci:", "archive:", "cache:")


@click.command(short_help="Push an image to registries.")
@click.argument("image", metavar="IMAGE")
@click.argument("references", metavar="[REFERENCE]...", nargs=-1)
@click.option(
    "--platform",
    "wanted",
    multiple=True,
    type=click.Choice(PLATFORMS),
    help="Push only the image for this; repeatable. Default: all there are.",
)
@audit_options
@plain_http_option
@metrics_options
@common_options
def push(session: Session, image: str, references: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    """Push an image to registries: only what they lack is sent.

    IMAGE is a name in the cache (`envbuild cache list`), oci:DIRECTORY[:NAME] or archive:FILE[:NAME]. Without
    REFERENCE it goes to where its name says.
    """
    from envbuild.cli.documents import push_document
    from envbuild.image.layout import image_index
    from envbuild.image.reference import parse_reference
    from envbuild.inspection.place import Place, parse_place
    from envbuild.inspection.view import read_image
    from envbuild.pull import take_images
    from envbuild.registry.push import push_images

    is_name = not image.startswith(_FILES)
    place = Place("cache", image) if is_name else parse_place(image)
    if not references and place.kind != "cache":
        raise UsageError(
            f"{image} has to go somewhere",
            code="push-without-name",
            remedy=f"name it as well: envbuild push {image} registry.example.org/team/demo:1.0",
        )
    targets = [parse_reference(text) for text in references or (place.text,)]
    medium = inspector(session).medium(place)
    images = take_images(
        medium,
        platforms=wanted,
        store=session.store,
        jobs=session.settings.jobs,
        reporter=session.console,
    )
    index = image_index(images, session.store).digest if len(images) > 1 else None
    session.console.took(images, index)
    view = read_image(medium, medium.entries().images[0])
    session.console.identify(environment=view.environment, lock=view.lock_digest)
    with session.audit.push(list(map(str, targets))):
        pushed = push_images(
            images, targets, store=session.store, registries=session.registries, reporter=session.console
        )
    document = push_document(image, images, pushed, session.console.rounded_seconds)
    session.console.result(*columns(pushed_rows(document["pushed"])))
    session.console.document(document)
