"""The images the cache knows by name: the store's ``index.json`` (OCI image index).

An image that is named here is what ``cache prune`` keeps. Names are tags, or the project's name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from envbuild.store.store import Blob, Store, write_atomic

__all__ = ["StoredImage", "contents", "forget_images", "record_image", "stored_images"]

_NAME = "org.opencontainers.image.ref.name"
_USED = "dev.envbuild.used"
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
    """What an image consists of: ``blobs`` are config, manifest and layers; ``diff_ids`` bottom to top."""

    config: str
    layers: tuple[Blob, ...]
    blobs: tuple[Blob, ...]
    diff_ids: tuple[str, ...]


def stored_images(store: Store) -> tuple[StoredImage, ...]:
    """All named images whose manifest is in the store, by name and platform."""
    found = []
    for entry in _entries(store):
        try:
            annotations = entry["annotations"]
            platform = f"{entry['platform']['os']}/{entry['platform']['architecture']}"
            image = StoredImage(
                annotations[_NAME],
                platform,
                Blob(entry["digest"], entry["size"]),
                datetime.fromisoformat(annotations[_USED]),
            )
        except (KeyError, TypeError, ValueError):
            continue  # not written by this version; it costs nothing to leave it alone
        if store.has_blob(image.manifest.digest, image.manifest.size):
            found.append(image)
    return tuple(sorted(found, key=lambda image: (image.name, image.platform)))


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
    system, _, architecture = platform.partition("/")
    used = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
    entry = {
        "annotations": {_NAME: name, _USED: used},
        "digest": manifest.digest,
        "mediaType": _MANIFEST,
        "platform": {"architecture": architecture, "os": system},
        "size": manifest.size,
    }
    with store.lock("index"):
        others = [other for other in _entries(store) if _key(other) != _key(entry)]
        _write(store, [*others, entry])


def forget_images(store: Store, images: tuple[StoredImage, ...]) -> None:
    """Remove the names; what they named stays until it is pruned."""
    gone = {(image.name, image.platform) for image in images}
    with store.lock("index"):
        _write(store, [entry for entry in _entries(store) if _key(entry) not in gone])


def contents(store: Store, image: StoredImage) -> Contents | None:
    """What ``image`` consists of; None when the store has lost a part of its description."""
    try:
        manifest = json.loads(store.blob_path(image.manifest.digest).read_bytes())
        config = Blob(manifest["config"]["digest"], manifest["config"]["size"])
        layers = tuple(Blob(layer["digest"], layer["size"]) for layer in manifest["layers"])
        diff_ids = tuple(json.loads(store.blob_path(config.digest).read_bytes())["rootfs"]["diff_ids"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Contents(config.digest, layers, (image.manifest, config, *layers), diff_ids)


def _entries(store: Store) -> list[dict[str, Any]]:
    """The index's descriptors; what is not shaped like one is dropped."""
    try:
        entries = list(json.loads((store.layout / "index.json").read_bytes())["manifests"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []
    return [
        entry
        for entry in entries
        if isinstance(entry, dict)
        and all(isinstance(entry.get(part, {}), dict) for part in ("annotations", "platform"))
    ]


def _key(entry: dict[str, Any]) -> tuple[Any, str]:
    platform = entry.get("platform", {})
    return entry.get("annotations", {}).get(_NAME), f"{platform.get('os')}/{platform.get('architecture')}"


def _write(store: Store, entries: list[dict[str, Any]]) -> None:
    index = {"manifests": sorted(entries, key=str), "mediaType": _INDEX, "schemaVersion": 2}
    write_atomic(
        store.layout / "index.json", json.dumps(index, sort_keys=True, separators=(",", ":")).encode()
    )
