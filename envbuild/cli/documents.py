"""The documents that ``--json`` prints (docs/schemas.md)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from envbuild.store import Store
from envbuild.store.images import contents, stored_images
from envbuild.store.prune import usage

__all__ = ["cache_document"]


def cache_document(store: Store) -> dict[str, Any]:
    """``cache list``: named images with sizes in bytes, and the size of each part of the cache.

    ``shared`` of an image is how many of its bytes other images in the list have as well.
    """
    images = [(image, contents(store, image)) for image in stored_images(store)]
    owners = Counter(blob.digest for _, parts in images if parts for blob in set(parts.blobs))
    listed = []
    for image, parts in images:
        blobs = set(parts.blobs) if parts else {image.manifest}
        listed.append(
            {
                "name": image.name,
                "platform": image.platform,
                "image_id": parts.config if parts else None,
                "digest": image.manifest.digest,
                "used": image.used.isoformat(),
                "size": sum(blob.size for blob in blobs),
                "shared": sum(blob.size for blob in blobs if owners[blob.digest] > 1),
            }
        )
    parts_of_cache = usage(store)
    return {
        "path": str(store.root),
        "images": listed,
        "parts": parts_of_cache,
        "size": sum(parts_of_cache.values()),
    }
