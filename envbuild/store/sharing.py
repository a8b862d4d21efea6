"""What named images have in common, and what would go with one of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from envbuild.store.disk import disk_errors, remove_whole
from envbuild.store.images import Contents, StoredImage, contents, forget_images, stored_images
from envbuild.store.locks import is_alone, open_lock
from envbuild.store.record import decode
from envbuild.store.store import Blob, Store
from envbuild.store.usage import Entry, Total, look_into

__all__ = ["Removed", "Share", "needed_digests", "remove_images", "shares"]


@dataclass(frozen=True, slots=True)
class Share:
    """One named image and its bytes: ``size`` are all, ``shared`` those other images in the cache have, too.

    ``unique`` are those that are in the cache for this image alone: what removing it gives back. The rest is
    only in a registry. ``image_id`` is None when the cache has lost the image's manifest.
    """

    image: StoredImage
    image_id: str | None
    size: int
    shared: int
    unique: int


@dataclass(frozen=True, slots=True)
class Removed:
    """Names that were ``forgotten``; number of ``entries`` that went with them, and their ``size`` in bytes.

    ``busy`` tells that another envbuild was running: then only the names go.
    """

    forgotten: tuple[str, ...]
    entries: int
    size: int
    busy: bool


def shares(store: Store) -> tuple[Share, ...]:
    """Every named image and what it has in common with the others, by name and platform."""
    images = [(image, contents(store, image)) for image in stored_images(store)]
    owners = Counter(blob for image, parts in images for blob in _blobs(image, parts))
    found = []
    for image, parts in images:
        blobs = _blobs(image, parts)
        shared = [blob for blob in blobs if owners[blob] > 1]
        own = [blob for blob in blobs if owners[blob] == 1 and store.has_blob(blob.digest, blob.size)]
        found.append(Share(image, parts.config if parts else None, _size(blobs), _size(shared), _size(own)))
    return tuple(found)


def needed_digests(store: Store, images: Iterable[StoredImage]) -> set[str]:
    """Digests of all blobs and diff IDs that ``images`` consist of."""
    needed: set[str] = set()
    for image in images:
        parts = contents(store, image)
        if parts is not None:
            needed |= {blob.digest for blob in parts.blobs}
            needed.update(parts.diff_ids)
    return needed


def remove_images(store: Store, images: Sequence[StoredImage], *, dry_run: bool = False) -> Removed:
    """Forget ``images``, and remove what the cache has for no other image.

    The caller must not hold :func:`envbuild.store.prune.in_use` itself.

    Parameters:
        dry_run: only tell.
    """
    path = store.locks / "in-use"
    with disk_errors(store.root):
        handle = open_lock(path)
    try:
        busy = not is_alone(handle, path)
        others = [image for image in stored_images(store) if image not in images]
        alone = needed_digests(store, images) - needed_digests(store, others)
        doomed = [] if busy else _of(store, alone)
        if not dry_run:
            forget_images(store, images)
            doomed = [entry for entry in doomed if remove_whole(entry.path, store.tmp)]
    finally:
        os.close(handle)
    names = tuple(dict.fromkeys(image.name for image in images))
    return Removed(names, len(doomed), Total(doomed).size, busy)


def _of(store: Store, digests: Container[str]) -> list[Entry]:
    """The blobs with these digests, and the trees of layers with these diff IDs."""
    blobs = [entry for entry in look_into(store.blobs) if f"sha256:{entry.path.name}" in digests]
    return blobs + [entry for entry in look_into(store.trees) if _has_layer(entry, digests)]


def _has_layer(tree: Entry, diff_ids: Container[str]) -> bool:
    try:
        layers = decode("about", (tree.path / "about").read_bytes())["layers"]
    except (OSError, ValueError, KeyError):
        return False
    return any(layer in diff_ids for layer in layers)


def _blobs(image: StoredImage, parts: Contents | None) -> set[Blob]:
    return set(parts.blobs) if parts else {image.manifest}


def _size(blobs: Iterable[Blob]) -> int:
    return sum(blob.size for blob in blobs)
