"""``envbuild pull``: images from registries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from envbuild.cli.options import (
    common_options,
    engine_option,
    metrics_options,
    plain_http_option,
    platform_option,
)
from envbuild.cli.placing import image_rows, load_option, output_option, place_images
from envbuild.cli.session import Session
from envbuild.cli.text import columns

if TYPE_CHECKING:
    from envbuild.image.reference import Reference

__all__ = ["pull"]


@click.command(short_help="Pull an image from a registry.")
@click.argument("reference", metavar="REFERENCE")
@output_option
@load_option
@engine_option
@platform_option
@plain_http_option
@metrics_options
@common_options
def pull(session: Session, reference: str, outputs: tuple[str, ...], load: bool) -> None:
    """Bring an image from a registry into the cache: only what is not there is fetched.

    It need not be one that envbuild has made. It is kept under its name.
    """
    from envbuild.base.host import host_platform
    from envbuild.cli.documents import pull_document
    from envbuild.image.output import parse_output
    from envbuild.image.reference import full_name, parse_reference
    from envbuild.pull import pull_image

    platforms = session.settings.platforms
    wanted = parse_reference(reference)
    name = full_name(_name(reference, wanted))
    places = [parse_output(output) for output in outputs]
    for place in places:
        place.require_room_for(len(platforms))
    pulled = pull_image(
        wanted,
        platforms=platforms,
        native=host_platform(),
        store=session.store,
        registries=session.registries,
        reporter=session.console,
    )
    session.console.identify(digest=pulled.digest)
    loaded = place_images(
        session,
        pulled.images,
        names=[name],
        places=places,
        named=[name],
        load=load,
        settings=session.settings,
    )
    document = pull_document(wanted, pulled, name, places, loaded, session.console.rounded_seconds)
    rows = [("pulled", str(wanted.with_digest(pulled.digest))), *image_rows(document["platforms"])]
    rows += [("name", document["name"])]
    rows += [("written to", place) for place in document["outputs"]]
    if loaded:
        rows.append(("loaded into", loaded))
    session.console.result(*columns(rows))
    session.console.document(document)


def _name(text: str, reference: Reference) -> str:
    """What the cache calls it: as the user does; a digest becomes a tag.

    >>> from envbuild.image.reference import parse_reference
    >>> pinned = "python@sha256:" + "0" * 64
    >>> _name("python", parse_reference("python")), _name(pinned, parse_reference(pinned))[:20]
    ('python', 'python:sha256-000000')
    """
    name, at, digest = text.partition("@")
    return name if reference.tag or not at else f"{name}:{digest.replace(':', '-')}"
