"""``envbuild inspect``: what an image or a lock is."""

from __future__ import annotations

from typing import Any

import click

from envbuild.cli.looking import inspector, platform_of_image_option
from envbuild.cli.options import common_options
from envbuild.cli.session import Session
from envbuild.cli.text import byte_size, columns, count

__all__ = ["inspect"]

_NAMED = 6
_DIGITS = len("sha256:") + 12
_LONGEST = 80


@click.command(short_help="Show what an image or a lock is.")
@click.argument("image", metavar="IMAGE")
@platform_of_image_option
@common_options
def inspect(session: Session, image: str, wanted: tuple[str, ...]) -> None:
    """Show what an image is made of: lock, Python, kernels, packages, layers.

    IMAGE is a name in the cache or in a registry, oci:DIRECTORY[:NAME], archive:FILE, or an envbuild.lock. Of
    an image in a registry only what is small is fetched. Images that envbuild did not make can be looked at,
    too.
    """
    from envbuild.cli.proof_documents import inspect_document

    document = inspect_document(inspector(session).look(image, wanted))
    session.console.result(*_text(document))
    session.console.document(document)


def _text(document: dict[str, Any]) -> list[str]:
    lines = columns(_head(document))
    for image in document["images"]:
        lines += ["", *columns(_image(image))]
        rows = [("LAYER", "SIZE", "DIGEST", "PACKAGES"), *map(_layer, image["layers"])]
        lines += ["", *columns(rows, right=frozenset({1}))]
        if image["labels"]:
            lines += ["", *columns([("LABEL", ""), *image["labels"].items()])]
    return lines


def _head(document: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("name", document["name"])]
    if document["digest"]:
        rows.append(("digest", document["digest"]))
    if document["lock"]:
        rows += _lock(document["lock"])
    shown = [image["platform"] for image in document["images"]]
    others = [platform for platform in document["platforms"] if platform not in shown]
    if others:
        rows.append(("also for" if shown else "platforms", ", ".join(others)))
    for attached in document["attached"]:
        what = attached["artifact_type"] or attached["media_type"]
        rows.append(("attached", f"{what}, {byte_size(attached['size'])}, {attached['digest'][:_DIGITS]}"))
    return rows


def _lock(lock: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("locked", f"{lock['cutoff']} by {lock['resolver']}, packing recipe {lock['recipe']}"),
        ("base", _base(lock["base"])),
        ("Python", lock["python"]),
        ("kernels", ", ".join(lock["kernels"])),
        *(("packages", f"{len(packages)} for {platform}") for platform, packages in lock["packages"].items()),
    ]


def _base(base: dict[str, Any]) -> str:
    if base["image"]:
        return f"{base['image']} (glibc {base['glibc']})"
    return f"{base['recipe']} ({base['suite']}, glibc {base['glibc']}) of {base['date']}"


def _image(image: dict[str, Any]) -> list[tuple[str, str]]:
    layers = f"{byte_size(image['size'])} in {count(len(image['layers']), 'layer')}"
    rows = [
        ("platform", image["platform"]),
        ("image ID", image["image_id"]),
        ("digest", image["digest"]),
        ("content", layers),
        ("made by", _maker(image)),
    ]
    if image["created"] and not image["lock"]:
        rows.append(("created", image["created"]))
    if image["env"]:
        rows.append(("environment", image["env"]))
    if image["lock_digest"]:
        rows.append(("lock", image["lock_digest"]))
    if image["lock"]:
        rows += [row for row in _lock(image["lock"]) if row[0] in ("locked", "base")]
        rows.append(("Python", image["python"]))
    if image["kernels"]:
        rows.append(("kernels", ", ".join(kernel["name"] for kernel in image["kernels"])))
    if not image["lock"]:
        rows.append(("not known", f"packages, Python and kernels: {image['trouble']}"))
    elif image["trouble"]:
        rows.append(("beware", image["trouble"]))
    return rows


def _maker(image: dict[str, Any]) -> str:
    if image["recipe"]:
        return f"envbuild, packing recipe {image['recipe']}"
    return image["builder"] or "not envbuild"


def _layer(layer: dict[str, Any]) -> tuple[str, str, str, str]:
    packages = [package.replace("==", " ") for package in layer["packages"]]
    shown = ", ".join(packages[:_NAMED])
    more = f" and {len(packages) - _NAMED} more" if len(packages) > _NAMED else ""
    title = layer["title"] if len(layer["title"]) <= _LONGEST else layer["title"][: _LONGEST - 1] + "…"
    return title or "?", byte_size(layer["size"]), layer["digest"][7:_DIGITS], shown + more
