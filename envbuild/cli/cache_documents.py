"""The documents that ``envbuild cache ... --json`` prints (docs/schemas.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from envbuild.store import Store
from envbuild.store.sharing import Share, shares
from envbuild.store.usage import usage
from envbuild.store.verify import Verified

__all__ = ["ORDERS", "cache_document", "verify_document"]

# What `cache list --sort` can order by: most interesting first, then by name.
ORDERS: dict[str, Callable[[Share], Any]] = {
    "name": lambda share: (share.image.name, share.image.platform),
    "used": lambda share: (-share.image.used.timestamp(), share.image.name),
    "size": lambda share: (-share.size, share.image.name),
    "unique": lambda share: (-share.unique, share.image.name),
}


def cache_document(store: Store, order: str = "name") -> dict[str, Any]:
    """``cache list``: named images with sizes in bytes, and the size of each part of the cache.

    Parameters:
        order: one of :data:`ORDERS`.
    """
    parts = usage(store)
    return {
        "path": str(store.root),
        "images": [
            {
                "name": share.image.name,
                "platform": share.image.platform,
                "image_id": share.image_id,
                "digest": share.image.manifest.digest,
                "used": share.image.used.isoformat(),
                "size": share.size,
                "shared": share.shared,
                "unique": share.unique,
            }
            for share in sorted(shares(store), key=ORDERS[order])
        ],
        "parts": parts,
        "size": sum(parts.values()),
    }


def verify_document(verified: Verified, seconds: Mapping[str, float]) -> dict[str, Any]:
    """``cache verify``: what was read, and what was not as it should be."""
    return {
        "entries": verified.entries,
        "size": verified.size,
        "damage": [asdict(damage) for damage in verified.damage],
        "seconds": dict(seconds),
    }
