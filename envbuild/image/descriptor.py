"""Descriptors: how indexes, manifests and registries name a piece of content.

Follows descriptor.md of the OCI image specification 1.1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from envbuild.image.reference import is_digest

__all__ = ["EMPTY", "EMPTY_DATA", "Descriptor", "parse_descriptor"]

_LARGEST = 1 << 50  # nothing that could be stored; keeps sums and headers within reason


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One piece of content: its media type, digest, size in bytes, and what else is said about it.

    ``platform`` is ``linux/amd64`` or, where there is a variant, ``linux/arm/v7``; None when nothing is said.
    """

    media_type: str
    digest: str
    size: int
    platform: str | None = None
    artifact_type: str | None = None
    annotations: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The descriptor as it stands in a manifest."""
        value: dict[str, Any] = {"digest": self.digest, "mediaType": self.media_type, "size": self.size}
        if self.platform is not None:
            parts = self.platform.split("/")
            value["platform"] = dict(zip(("os", "architecture", "variant"), parts, strict=False))
        if self.artifact_type is not None:
            value["artifactType"] = self.artifact_type
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value


# The config of what is no image ("Guidance for an empty descriptor" of manifest.md).
EMPTY_DATA = b"{}"
EMPTY = Descriptor(
    "application/vnd.oci.empty.v1+json", "sha256:" + hashlib.sha256(EMPTY_DATA).hexdigest(), len(EMPTY_DATA)
)


def parse_descriptor(value: Any) -> Descriptor:
    """The descriptor that the JSON object ``value`` is.

    Raises:
        ValueError: it is none, or its digest is not one of sha256; says what is wrong with it.
    """
    if not isinstance(value, dict):
        raise ValueError("a descriptor is not an object")
    digest, size, media_type = value.get("digest"), value.get("size"), value.get("mediaType")
    if not isinstance(digest, str) or not is_digest(digest):
        raise ValueError(f"the digest {str(digest)[:80]!r} is not one of sha256")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _LARGEST:
        raise ValueError(f"the size of {digest} is not a size: {str(size)[:40]}")
    if not isinstance(media_type, str):
        raise ValueError(f"{digest} has no media type")
    artifact_type = value.get("artifactType")
    return Descriptor(
        media_type,
        digest,
        size,
        _platform(value.get("platform")),
        artifact_type if isinstance(artifact_type, str) else None,
        _annotations(value.get("annotations")),
    )


def _platform(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    parts = [value.get("os"), value.get("architecture"), value.get("variant")]
    if not all(isinstance(part, str) and part for part in parts[:2]):
        return None
    return "/".join(part for part in parts if isinstance(part, str) and part)


def _annotations(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        return ()
    return tuple(sorted((name, text) for name, text in value.items() if isinstance(text, str)))
