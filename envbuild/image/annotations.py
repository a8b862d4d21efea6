"""What a manifest says about a layer: its descriptor, annotated with what is known without its bytes.

With the annotations (OCI image specification 1.1, annotations.md) anybody who has only the manifest can tell
which planned layer a blob is, and use it without fetching it::

    dev.envbuild.layer.key        the key of the planned layer (envbuild/layers.py), if it has one
    dev.envbuild.layer.diff-id    digest of the uncompressed tar
    dev.envbuild.layer.raw-size   its size in bytes
    dev.envbuild.layer.captured   "true" when it is what a step changed
    dev.envbuild.layer.foreign    "true" when it is one of the image's that the base is
    dev.envbuild.layer.notes      JSON list of sentences for who uses it
"""

from __future__ import annotations

import json
import re
from typing import Final

from envbuild.image.descriptor import Descriptor
from envbuild.image.model import MEDIA_TYPES, Layer
from envbuild.image.reference import is_digest

__all__ = ["described_layer", "layer_descriptor"]

_PREFIX: Final = "dev.envbuild.layer."
_COMPRESSIONS: Final = {media_type: compression for compression, media_type in MEDIA_TYPES.items()}
_KEY = re.compile(r"(?:[0-9a-f]{64})?")
_NUMBER = re.compile(r"(?:[1-9][0-9]{0,12})?", re.ASCII)
# Beyond anything that can be meant: a layer of a tebibyte, a book of notes.
_LARGEST: Final = 1 << 40
_MOST_NOTES: Final = 50
_LONGEST_NOTE: Final = 1000


def layer_descriptor(layer: Layer) -> Descriptor:
    """The descriptor of ``layer`` for a manifest. Where the layer was found has no part in it."""
    said = {
        "key": layer.key,
        "diff-id": layer.diff_id,
        "raw-size": str(layer.raw_size) if layer.raw_size else "",
        "captured": "true" if layer.captured else "",
        "foreign": "true" if layer.foreign else "",
        "notes": json.dumps(layer.notes, ensure_ascii=False, separators=(",", ":")) if layer.notes else "",
    }
    annotations = tuple((_PREFIX + name, value) for name, value in sorted(said.items()) if value)
    return Descriptor(layer.media_type, layer.digest, layer.size, annotations=annotations)


def described_layer(descriptor: Descriptor) -> Layer | None:
    """The layer that a descriptor of somebody's manifest describes, without title and packages.

    None when it is not annotated, or when anything about it is malformed or absurd: a manifest comes from
    elsewhere, and what it says is believed as a whole or not at all. Notes are as they were written, so
    :func:`~envbuild.source.text.clean` them before they are shown.
    """
    annotations = dict(descriptor.annotations)
    key, diff_id, raw_size, captured, foreign, notes = (
        annotations.get(_PREFIX + name, "")
        for name in ("key", "diff-id", "raw-size", "captured", "foreign", "notes")
    )
    sentences = _notes(notes)
    if (
        not _KEY.fullmatch(key)
        or not is_digest(diff_id)
        or not _NUMBER.fullmatch(raw_size)
        or int(raw_size or 0) > _LARGEST
        or not 0 < descriptor.size <= _LARGEST
        or descriptor.media_type not in _COMPRESSIONS
        or not {captured, foreign} <= {"", "true"}
        or sentences is None
    ):
        return None
    return Layer(
        title="",
        diff_id=diff_id,
        digest=descriptor.digest,
        size=descriptor.size,
        raw_size=int(raw_size or 0),
        compression=_COMPRESSIONS[descriptor.media_type],
        captured=bool(captured),
        foreign=bool(foreign),
        key=key,
        notes=sentences,
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
