"""What the verbs that look at images share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from envbuild.cli.session import Session

if TYPE_CHECKING:
    from envbuild.inspection.inspector import Inspector
    from envbuild.source import Repo

__all__ = ["inspector", "platform_of_image_option"]

platform_of_image_option = click.option(
    "--platform",
    "wanted",
    multiple=True,
    metavar="OS/ARCH",
    help="Which image to look at when there are several. Default: this machine's.",
)


def inspector(session: Session) -> Inspector:
    """What looks at images and locks for ``session``."""
    from envbuild.inspection.inspector import Inspector
    from envbuild.source.remote import Opener

    settings = session.settings

    def open_source(text: str) -> Repo:
        opener = Opener(session.store, session.environment, session.console, offline=settings.offline)
        return opener.open(text, settings.subdir)

    return Inspector(session.store, lambda: session.registries, open_source, session.console)
