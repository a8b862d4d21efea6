"""The form of documents about images, and what they are called in registries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

__all__ = [
    "CYCLONEDX_TYPE",
    "IN_TOTO_TYPE",
    "ImageDescription",
    "LayerDescription",
    "ManifestDescription",
    "document_bytes",
]

CYCLONEDX_TYPE = "application/vnd.cyclonedx+json"
IN_TOTO_TYPE = "application/vnd.in-toto+json"


class ManifestDescription(Protocol):
    """A manifest, wherever it is."""

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` of its bytes."""


class LayerDescription(Protocol):
    """A layer as its image describes it; the terms are those of :class:`envbuild.image.model.Layer`."""

    @property
    def title(self) -> str:
        """What is in it."""

    @property
    def packages(self) -> tuple[str, ...]:
        """``name==version`` of what is in it."""

    @property
    def digest(self) -> str:
        """Of what is stored and sent."""

    @property
    def diff_id(self) -> str:
        """The digest of its uncompressed tar."""

    @property
    def key(self) -> str:
        """That of the planned layer; "" when it has none."""


class ImageDescription(Protocol):
    """An image for one platform: one that was built here, or one that is read from where it is."""

    @property
    def platform(self) -> str:
        """``linux/amd64`` or ``linux/arm64``."""

    @property
    def manifest(self) -> ManifestDescription:
        """What registries know it by."""

    @property
    def image_id(self) -> str:
        """The digest of its config."""

    @property
    def layers(self) -> Sequence[LayerDescription]:
        """Bottom to top."""


def document_bytes(value: Any) -> bytes:
    """``value`` as JSON that has one form and can be read: sorted keys, indented, UTF-8."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()
