"""What a manifest says about a layer: its descriptor, annotated with what is known without its bytes.

Descriptors follow the OCI image specification 1.1 (descriptor.md, annotations.md). The annotations let
anybody who has only the manifest tell which planned layer a blob is, and use it without fetching it::

    dev.envbuild.layer.key        the key of the planned layer (envbuild/layers.py), if it has one
    dev.envbuild.layer.diff-id    digest of the uncompressed tar
    dev.envbuild.layer.raw-size   its size in bytes
    dev.envbuild.layer.captured   "true" when it is what a step changed
    dev.envbuild.layer.notes      JSON list of sentences for who uses it
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from envbuild.image.model import MEDIA_TYPES, Layer

__all__ = ["ANNOTATION_PREFIX", "described_layer", "layer_descriptor"]

ANNOTATION_PREFIX: Final = "dev.envbuild.layer."

_COMPRESSIONS: Final = {media_type: compression for compression, media_type in MEDIA_TYPES.items()}
_KEY = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NUMBER = re.compile(r"[1-9][0-9]{0,12}")
# Beyond anything that can be meant: a layer of a tebibyte, a book of notes.
_LARGEST: Final = 1 << 40
_MOST_NOTES: Final = 50
_LONGEST_NOTE: Final = 1000


def layer_descriptor(layer: Layer) -> dict[str, Any]:
    """The descriptor of ``layer`` for a manifest. Where the layer was found has no part in it."""
    said = {
        "key": layer.key,
        "diff-id": layer.diff_id,
        "raw-size": str(layer.raw_size) if layer.raw_size else "",
        "captured": "true" if layer.captured else "",
        "notes": json.dumps(layer.notes, ensure_ascii=False, separators=(",", ":")) if layer.notes else "",
    }
    return {
        "annotations": {ANNOTATION_PREFIX + name: value for name, value in said.items() if value},
        "digest": layer.digest,
        "mediaType": layer.media_type,
        "size": layer.size,
    }


def described_layer(descriptor: object) -> Layer | None:
    """The layer with a key that a descriptor of somebody's manifest describes, without title and packages.

    None when it is not annotated, or when anything about it is malformed or absurd: a manifest comes from
    elsewhere, and what it says is believed as a whole or not at all. Notes are as they were written.
    """
    if not isinstance(descriptor, Mapping) or not isinstance(descriptor.get("annotations"), Mapping):
        return None
    annotations = descriptor["annotations"]
    said = {
        name: annotations.get(ANNOTATION_PREFIX + name, "")
        for name in ("key", "diff-id", "raw-size", "captured", "notes")
    }
    digest, size, media_type = (descriptor.get(name) for name in ("digest", "size", "mediaType"))
    if not all(isinstance(value, str) for value in (*said.values(), digest, media_type)):
        return None
    notes = _notes(said["notes"])
    if (
        not _KEY.fullmatch(said["key"])
        or not _DIGEST.fullmatch(str(digest))
        or not _DIGEST.fullmatch(said["diff-id"])
        or not _NUMBER.fullmatch(said["raw-size"])
        or int(said["raw-size"]) > _LARGEST
        or type(size) is not int
        or not 0 < size <= _LARGEST
        or media_type not in _COMPRESSIONS
        or said["captured"] not in ("", "true")
        or notes is None
    ):
        return None
    return Layer(
        title="",
        diff_id=said["diff-id"],
        digest=str(digest),
        size=size,
        raw_size=int(said["raw-size"]),
        compression=_COMPRESSIONS[str(media_type)],
        captured=bool(said["captured"]),
        key=said["key"],
        notes=notes,
    )


def _notes(text: str) -> tuple[str, ...] | None:
    """None when they are no list of sentences."""
    if not text:
        return ()
    try:
        notes = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(notes, list) or not 0 < len(notes) <= _MOST_NOTES:
        return None
    if not all(isinstance(note, str) and 0 < len(note) <= _LONGEST_NOTE for note in notes):
        return None
    return tuple(notes)
