"""``envbuild cache``: what is kept, and making it less."""

from __future__ import annotations

import click

from envbuild.cli.options import AGE, SIZE, common_options
from envbuild.cli.session import Session
from envbuild.cli.text import byte_size, columns, count

__all__ = ["cache"]


@click.group(no_args_is_help=False)
def cache() -> None:
    """List, prune or find the cache."""


@cache.command("list")
@common_options
def list_images(session: Session) -> None:
    """List the images in the cache and what the cache holds."""
    from envbuild.cli.documents import cache_document

    document = cache_document(session.store)
    rows = [("IMAGE", "PLATFORM", "LAST USED", "SIZE", "SHARED", "MANIFEST")]
    rows += [
        (
            image["name"],
            image["platform"],
            image["used"].replace("T", " ")[:16],
            byte_size(image["size"]),
            byte_size(image["shared"]),
            image["digest"][7:19],
        )
        for image in document["images"]
    ]
    if document["images"]:
        session.console.result(*columns(rows, right=frozenset({3, 4})), "")
    parts = [(name, byte_size(size)) for name, size in document["parts"].items() if size]
    session.console.result(*columns([*parts, ("total", byte_size(document["size"]))], right=frozenset({1})))
    session.console.document(document)


@cache.command("prune")
@click.option(
    "--older-than", type=AGE, help="Spare what was used more recently. Default: 30d; with --all: 0d."
)
@click.option("--max-size", type=SIZE, help="Then remove what was not used for longest until the cache fits.")
@click.option("--all", "everything", is_flag=True, help="Also remove named images and what they need.")
@common_options
def prune_cache(session: Session, older_than: int | None, max_size: int | None, everything: bool) -> None:
    """Remove what no image needs and nobody has used for a while.

    Images that were built with a name keep everything they need, unless --all is given.
    """
    from dataclasses import asdict

    from envbuild.store import Store
    from envbuild.store.prune import DEFAULT_AGE, prune

    # Not session.store: that holds the cache, and whoever prunes has to see that nobody else does.
    store = Store(session.settings.cache_dir, session.console.warn)
    store.prepare()
    if older_than is None:
        older_than = 0 if everything else DEFAULT_AGE
    pruned = prune(store, older_than=older_than, max_size=max_size, everything=everything)
    if pruned.busy:
        session.console.note("another envbuild is running: what was used within a day was spared")
    if max_size is not None and pruned.remaining > max_size:
        session.console.warn(
            f"the cache still has {byte_size(pruned.remaining)}: the rest is needed by named images; "
            "--all removes them as well"
        )
    for name in pruned.images:
        session.console.result(f"forgot {name}")
    session.console.result(f"removed {count(pruned.entries, 'file')}, {byte_size(pruned.size)}")
    session.console.document(asdict(pruned))


@cache.command("path")
@common_options
def cache_path(session: Session) -> None:
    """Print where the cache is."""
    path = str(session.settings.cache_dir)
    session.console.result(path)
    session.console.document({"path": path})
