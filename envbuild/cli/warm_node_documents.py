"""The JSON document of ``envbuild warm node`` (docs/schemas.md), and what is shown of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from envbuild.cli.documents import error_document
from envbuild.cli.text import byte_size, columns

if TYPE_CHECKING:
    from envbuild.fleet.model import Fleet, Pool
    from envbuild.warm.node import NodeWarmth

__all__ = ["node_document", "node_lines"]


def node_document(fleet: Fleet, pool: Pool, engine: str, warmth: NodeWarmth) -> dict[str, Any]:
    """Of ``envbuild warm node``."""
    return {
        "fleet": fleet.name,
        "pool": pool.name,
        "engine": engine,
        "warm": all(image.state in ("warm", "pulled") for image in warmth.images if not image.previous),
        "images": [
            {
                "image": str(image.reference),
                "environments": list(image.environments),
                "previous": image.previous,
                "state": image.state,
                "size": image.size,
                "pull": image.pull,
                "error": error_document(image.error) if image.error else None,
            }
            for image in warmth.images
        ],
        "let_go": [
            {
                "image": old.name,
                "outcome": old.outcome,
                "error": error_document(old.error) if old.error else None,
            }
            for old in warmth.let_go
        ],
    }


def node_lines(document: Mapping[str, Any]) -> list[str]:
    """A line for each image, one for each that is let go, and the sum."""
    rows = [("ENVIRONMENTS", "STATE", "SIZE", "PULL", "IMAGE")]
    for image in document["images"]:
        size = "" if image["size"] is None else byte_size(image["size"])
        names = ", ".join(image["environments"]) + (" (previous)" if image["previous"] else "")
        rows.append((names, image["state"], size, byte_size(image["pull"]), image["image"]))
    lines = columns(rows, right=frozenset({2, 3})) if document["images"] else []
    lines += columns([(old["outcome"], old["image"]) for old in document["let_go"]])
    (warm, now), (warm_before, before) = (_tally(document, previous=previous) for previous in (False, True))
    also = f" (previous ones: {warm_before} of {before})" if before else ""
    pulled = sum(image["pull"] for image in document["images"] if image["state"] != "failed")
    verb = "to pull" if any(image["state"] == "to-pull" for image in document["images"]) else "pulled"
    lines.append(
        f"{warm} of {now} images of the pool {document['pool']} are warm{also}, {byte_size(pulled)} {verb}"
    )
    return lines


def _tally(document: Mapping[str, Any], *, previous: bool) -> tuple[int, int]:
    """How many images are here, of how many."""
    states = [image["state"] for image in document["images"] if image["previous"] == previous]
    return sum(state in ("warm", "pulled") for state in states), len(states)
