"""``envbuild sbom``: what is in an image, for other tools."""

from __future__ import annotations

from pathlib import Path

import click

from envbuild.cli.looking import inspector, platform_of_image_option
from envbuild.cli.options import common_options, output_option
from envbuild.cli.session import Session

__all__ = ["sbom"]


@click.command(short_help="Print what is in an image, as CycloneDX.")
@click.argument("what", default=".", metavar="[WHAT]")
@output_option
@platform_of_image_option
@common_options
def sbom(session: Session, what: str, output: Path | None, wanted: tuple[str, ...]) -> None:
    """Print the bill of materials of an image, or of what a lock would give: CycloneDX 1.6, JSON.

    WHAT is a repository with a lock, an envbuild.lock, or an image: a name in the cache or in a registry,
    oci:DIRECTORY[:NAME] or archive:FILE. Of an image it is what `--sbom` attaches, byte for byte.
    """
    from envbuild.attest.finished import sbom_of
    from envbuild.cli.documents import sbom_document
    from envbuild.cli.files import give

    if len(wanted) > 1:
        raise click.UsageError("a bill of materials is of one platform: give --platform once")
    seen = inspector(session).look(what, wanted)
    platform, data = sbom_of(seen, wanted[0] if wanted else None)
    text = data.decode()
    give(session.console, text, output)
    session.console.document(sbom_document(seen.name, platform, data, output))
