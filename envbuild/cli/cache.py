"""``envbuild cache``: what is kept, whether it is whole, and making it less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from envbuild.cli.options import AGE, SIZE, common_options
from envbuild.cli.session import Session
from envbuild.cli.text import byte_size, columns, count
from envbuild.errors import MachineError, UsageError
from envbuild.source.text import quote

if TYPE_CHECKING:
    from envbuild.store import Store

__all__ = ["cache"]

_dry_run = click.option("--dry-run", is_flag=True, help="Remove nothing, only tell.")


@click.group(no_args_is_help=False)
def cache() -> None:
    """List, check, prune or find the cache."""


def _unheld_store(session: Session) -> Store:
    """The cache for whoever has to see that nobody else works with it: `session.store` holds it."""
    from envbuild.store import Store

    store = Store(session.settings.cache_dir, session.console.warn)
    store.prepare()
    return store


@cache.command("list")
@click.option(
    "--sort", "order", type=click.Choice(("name", "used", "size", "unique")), default="name", help="By what."
)
@common_options
def list_images(session: Session, order: str) -> None:
    """List the images in the cache and what the cache holds.

    SHARED is what other images in the list have, too; UNIQUE is what `cache remove` would give back.
    """
    from envbuild.cli.cache_documents import cache_document

    document = cache_document(session.store, order)
    rows = [("IMAGE", "PLATFORM", "LAST USED", "SIZE", "SHARED", "UNIQUE", "MANIFEST")]
    rows += [
        (
            image["name"],
            image["platform"],
            image["used"].replace("T", " ")[:16],
            byte_size(image["size"]),
            byte_size(image["shared"]),
            byte_size(image["unique"]),
            image["digest"][7:19],
        )
        for image in document["images"]
    ]
    if document["images"]:
        session.console.result(*columns(rows, right=frozenset({3, 4, 5})), "")
    parts = [(name, byte_size(size)) for name, size in document["parts"].items() if size]
    session.console.result(*columns([*parts, ("total", byte_size(document["size"]))], right=frozenset({1})))
    session.console.document(document)


@cache.command("prune")
@click.option(
    "--older-than", type=AGE, help="Spare what was used more recently. Default: 30d; with --all: 0d."
)
@click.option("--max-size", type=SIZE, help="Then remove what was not used for longest until the cache fits.")
@click.option("--all", "everything", is_flag=True, help="Also remove named images and what they need.")
@_dry_run
@common_options
def prune_cache(
    session: Session, older_than: int | None, max_size: int | None, everything: bool, dry_run: bool
) -> None:
    """Remove what no image needs and nobody has used for a while.

    Images that were built with a name keep everything they need, unless --all is given.
    """
    from dataclasses import asdict

    from envbuild.store.prune import prune

    if older_than is None and everything:
        older_than = 0
    pruned = prune(
        _unheld_store(session),
        older_than=older_than,
        max_size=max_size,
        everything=everything,
        dry_run=dry_run,
    )
    if pruned.busy:
        session.console.note("another envbuild is running: what was used within a day was spared")
    if pruned.future:
        session.console.warn(
            f"by this machine's clock {count(pruned.future, 'file')} were used in the future, and spared:"
            " is the clock right?"
        )
    if pruned.foreign:
        session.console.warn(f"{count(pruned.foreign, 'file')} belong to other users, and stay")
    if max_size is not None and pruned.remaining > max_size:
        session.console.warn(
            f"the cache still has {byte_size(pruned.remaining)}: the rest is needed by named images; "
            "--all removes them as well"
        )
    forgotten, removed = ("would forget", "would remove") if dry_run else ("forgot", "removed")
    for name in pruned.images:
        session.console.result(f"{forgotten} {name}")
    session.console.result(f"{removed} {count(pruned.entries, 'file')}, {byte_size(pruned.size)}")
    session.console.document({**asdict(pruned), "dry_run": dry_run})


@cache.command("remove")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_dry_run
@common_options
def remove_from_cache(session: Session, names: tuple[str, ...], dry_run: bool) -> None:
    """Remove images from the cache: their names, and what no other image needs.

    NAME is one that `cache list` shows; without a tag, all tags of that name.
    """
    from dataclasses import asdict

    from envbuild.store.images import stored_images
    from envbuild.store.sharing import remove_images

    store = _unheld_store(session)
    known = stored_images(store)
    chosen = {image for name in names for image in known if name in (image.name, _untagged(image.name))}
    for name in names:
        if not any(name in (image.name, _untagged(image.name)) for image in known):
            raise UsageError(
                f"the cache has no image {quote(name)}",
                code="no-such-image",
                remedy="`envbuild cache list` shows those it has",
            )
    removed = remove_images(store, sorted(chosen), dry_run=dry_run)
    if removed.busy:
        session.console.note(
            "another envbuild is running: what only they needed goes with the next `envbuild cache prune`"
        )
    for name in removed.forgotten:
        session.console.result(f"{'would forget' if dry_run else 'forgot'} {name}")
    verb = "would remove" if dry_run else "removed"
    session.console.result(f"{verb} {count(removed.entries, 'file')}, {byte_size(removed.size)}")
    session.console.document({**asdict(removed), "dry_run": dry_run})


def _untagged(name: str) -> str:
    return name.rpartition(":")[0]


@cache.command("verify")
@_dry_run
@common_options
def verify_cache(session: Session, dry_run: bool) -> None:
    """Read everything in the cache, and remove what is damaged: it is made anew when it is needed.

    Exit code 3: something is damaged and still there.
    """
    from envbuild.cli.cache_documents import verify_document
    from envbuild.store.verify import verify

    verified = verify(_unheld_store(session), session.console, remove=not dry_run)
    for damage in verified.damage:
        needed = f"; needed by {', '.join(damage.images)}" if damage.images else ""
        state = "removed" if damage.removed else "damaged"
        session.console.result(f"{state} {damage.part}/{damage.name}: {damage.problem}{needed}")
    session.console.result(
        f"{count(verified.entries, 'file')}, {byte_size(verified.size)}:"
        f" {len(verified.damage) or 'none'} damaged"
    )
    session.console.document(verify_document(verified, session.console.rounded_seconds))
    if not all(damage.removed for damage in verified.damage):
        raise click.exceptions.Exit(MachineError.exit_code)


@cache.command("path")
@common_options
def cache_path(session: Session) -> None:
    """Print where the cache is."""
    path = str(session.settings.cache_dir)
    session.console.result(path)
    session.console.document({"path": path})
