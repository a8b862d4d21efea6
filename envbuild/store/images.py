"""The images the cache knows by name.

An image that is named is what ``cache prune`` keeps. Names are tags, or the project's name. Each is a record
of its own, so that processes that name images at the same time do not get into each other's way::

    images-v1/<sha256 of name and platform>

The store's ``index.json`` (OCI image index), by which other tools can read the store, is written from them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from envbuild.store.disk import remove_whole
from envbuild.store.store import Blob, Store

__all__ = ["Contents", "StoredImage", "contents", "forget_images", "record_image", "stored_images"]

_NAME = "org.opencontainers.image.ref.name"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True, slots=True, order=True)
class StoredImage:
    """One named image for one platform; ``used`` is when it was last built or started (UTC)."""

    name: str
    platform: str
    manifest: Blob
    used: datetime


@dataclass(frozen=True, slots=True)
class Contents:
    """What an image consists of: ``blobs`` are config, manifest and layers; ``diff_ids`` bottom to top.

    ``diff_ids`` is empty when the config is not in the store.
    """

    config: str
    layers: tuple[Blob, ...]
    blobs: tuple[Blob, ...]
    diff_ids: tuple[str, ...]


def stored_images(store: Store, *, mend: bool = True) -> tuple[StoredImage, ...]:
    """All named images whose manifest is in the store, by name and platform.

    Parameters:
        mend: false to leave damaged records where they are.
    """
    read = store.record if mend else store.intact_record
    found = [_image(read(path)) for path in store.images.glob("*")]
    return tuple(
        sorted(
            image
            for image in found
            if image is not None and store.has_blob(image.manifest.digest, image.manifest.size)
        )
    )


def record_image(
    store: Store, name: str, platform: str, manifest: Blob, *, now: datetime | None = None
) -> None:
    """Name an image, or tell that the named image was used again.

    Parameters:
        name: a tag, or the project's name; an image of the same name and platform is replaced.
        platform: ``linux/amd64`` or ``linux/arm64``.
        manifest: the image's manifest, in the store.
        now: when; the current time by default.
    """
    used = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
    value = {
        "digest": manifest.digest,
        "name": name,
        "platform": platform,
        "size": manifest.size,
        "used": used,
    }
    store.put_record(_place(store, name, platform), value)
    _write_index(store)


def forget_images(store: Store, images: Iterable[StoredImage]) -> tuple[StoredImage, ...]:
    """Remove the names; what they named stays until it is pruned. Returns those that were removed."""
    gone = [image for image in images if remove_whole(_place(store, image.name, image.platform), store.tmp)]
    _write_index(store)
    return tuple(gone)


def contents(store: Store, image: StoredImage) -> Contents | None:
    """What ``image`` consists of; None when the store has lost its manifest, or it is damaged."""
    try:
        manifest = json.loads(store.intact_blob(image.manifest.digest) or b"")
        config = Blob(manifest["config"]["digest"], manifest["config"]["size"])
        layers = tuple(Blob(layer["digest"], layer["size"]) for layer in manifest["layers"])
    except (ValueError, KeyError, TypeError):
        return None
    return Contents(config.digest, layers, (image.manifest, config, *layers), _diff_ids(store, config))


def _diff_ids(store: Store, config: Blob) -> tuple[str, ...]:
    try:
        return tuple(map(str, json.loads(store.intact_blob(config.digest) or b"")["rootfs"]["diff_ids"]))
    except (ValueError, KeyError, TypeError):
        return ()


def _place(store: Store, name: str, platform: str) -> Path:
    return store.images / hashlib.sha256(f"{name}\n{platform}".encode()).hexdigest()


def _image(value: Any) -> StoredImage | None:
    """The image in a record; None when this version has not written it."""
    try:
        return StoredImage(
            value["name"],
            value["platform"],
            Blob(value["digest"], value["size"]),
            datetime.fromisoformat(value["used"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _write_index(store: Store) -> None:
    """Tell other tools; when two processes do it at once, the next one completes what the last one lacks."""
    entries = []
    for image in stored_images(store):
        system, _, architecture = image.platform.partition("/")
        entries.append(
            {
                "annotations": {_NAME: image.name},
                "digest": image.manifest.digest,
                "mediaType": _MANIFEST,
                "platform": {"architecture": architecture, "os": system},
                "size": image.manifest.size,
            }
        )
    index = {"manifests": entries, "mediaType": _INDEX, "schemaVersion": 2}
    data = json.dumps(index, sort_keys=True, separators=(",", ":")).encode()
    path = store.layout / "index.json"
    with store.lock("index"):
        if not path.exists() or path.read_bytes() != data:
            store.write(path, data)
