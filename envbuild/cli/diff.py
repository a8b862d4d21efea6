"""``envbuild diff``: what is different between two locks or images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import click

from envbuild.cli.looking import inspector, platform_of_image_option
from envbuild.cli.options import common_options
from envbuild.cli.session import Session
from envbuild.cli.text import byte_size, columns, count

__all__ = ["diff"]

_TITLES = {
    "setting": "settings",
    "platform": "platforms",
    "kernel": "kernels",
    "variable": "variables",
    "wheel": "packages",
    "conda": "conda packages",
    "apt": "Debian packages",
    "built": "built from source",
    "server": "Jupyter server",
    "base": "operating system",
    "detail": "details that change no file of a package",
}
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")


@click.command(short_help="Show what is different between two locks or images.")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--exit-code", is_flag=True, help="Exit code 1 when they differ.")
@platform_of_image_option
@common_options
def diff(session: Session, before: str, after: str, exit_code: bool, wanted: tuple[str, ...]) -> None:
    """Show what is different from A to B: packages, kernels, settings, layers, and the bytes to be pulled.

    Each is an image (as for `envbuild inspect`), an envbuild.lock, or a SOURCE with a lock: a directory, or
    `.#REF` for what is in a commit. Of images in registries no layers are fetched but the one that has the
    lock.
    """
    from envbuild.cli.proof_documents import difference_document
    from envbuild.proof.difference import difference

    look = inspector(session).look
    one, two = look(before, wanted), look(after, wanted)
    found = difference(one, two, wanted)
    document = difference_document(one, two, found)
    session.console.result(*_text(document))
    session.console.document(document)
    if exit_code and not found.same:
        raise click.exceptions.Exit(1)


def _text(document: dict[str, Any]) -> list[str]:
    if document["identical"]:
        return ["identical"]
    lines = []
    if document["same"]:
        lines.append(_sameness(document))
    for title, rows in _changes(document["changes"] or ()):
        lines += [f"{title}: {_counts(rows)}", *columns(rows)]
    if document["config"]:
        rows = _config(document["config"])
        lines += [f"image: {_counts(rows)}", *columns(rows)]
    return lines + (_layers(document["layers"]) if document["layers"] else [])


def _sameness(document: dict[str, Any]) -> str:
    """What two things that are not identical, but do not differ, are to each other."""
    images = [document[side]["image_id"] is not None for side in ("before", "after")]
    if all(images):
        return "the same image, compressed otherwise"
    return "nothing differs: the image is of this lock" if any(images) else "the same, written otherwise"


def _changes(changes: Sequence[dict[str, Any]]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """The rows of each kind of change."""
    everywhere = {platform for change in changes for platform in change["platforms"]}
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for change in changes:
        only = set(change["platforms"]) < everywhere and bool(change["platforms"])
        row = _row(change, f"  ({', '.join(change['platforms'])})" if only else "")
        groups.setdefault(_TITLES[change["kind"]], []).append(row)
    return list(groups.items())


def _config(changes: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """The history's entries in one row: they have the date of the image, and repeat what layers say."""
    rows = [_row(change) for change in changes if not change["name"].startswith("history ")]
    entries = len(changes) - len(rows)
    return [*rows, ("  ~", "history", count(entries, "line"))] if entries else rows


def _row(change: dict[str, Any], suffix: str = "") -> tuple[str, str, str]:
    before, after = (_short(change[side]) for side in ("before", "after"))
    if before is None or after is None:
        return ("  -" if after is None else "  +", change["name"], (before or after or "") + suffix)
    return ("  ~", change["name"], f"{before} -> {after}{suffix}")


def _short(value: str | None) -> str | None:
    return None if value is None else _DIGEST.sub(r"\1…", value)


def _counts(rows: Sequence[tuple[str, str, str]]) -> str:
    words = {"  +": "added", "  -": "removed", "  ~": "changed"}
    numbers = {mark: sum(row[0] == mark for row in rows) for mark in words}
    return ", ".join(f"{number} {words[mark]}" for mark, number in numbers.items() if number)


def _layers(layers: dict[str, Any]) -> list[str]:
    changed = layers["changed"]
    if not changed and not layers["moved"] and not layers["pull_above"]:
        return []
    total = layers["shared"] + sum(change["after"] is not None for change in changed)
    lines = [f"layers: {layers['shared']} of {count(total, 'layer')} shared"]
    if layers["moved"]:
        lines.append("  in another order")
    lines += columns([_layer(change) for change in changed])
    if layers["pull"] is not None:
        above = f", {byte_size(layers['pull_above'])} by Docker's classic store"
        more = above if layers["pull_above"] > layers["pull"] else ""
        lines.append(f"to pull: {byte_size(layers['pull'])}{more}")
    return lines


def _layer(change: dict[str, Any]) -> tuple[str, str, str]:
    before, after = change["before"], change["after"]
    sizes = [byte_size(side["size"]) if side["size"] is not None else "" for side in (before, after) if side]
    mark = "  +" if before is None else "  -" if after is None else "  ~"
    return mark, change["title"], " -> ".join(filter(None, sizes))
