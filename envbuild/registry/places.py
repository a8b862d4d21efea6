"""Where in registries a blob is known to be: what pushes and pulls have seen.

It is only ever a hint. A push offers these places to the registry to mount from, and whoever needs the bytes
of a blob that is not in the store asks there; nothing is believed without asking.
"""

from __future__ import annotations

import json

from envbuild.image.reference import is_digest, is_repository_name
from envbuild.store import Store
from envbuild.store.store import disk_errors, write_atomic

__all__ = ["known_places", "remember_place"]

_MOST = 8


def remember_place(store: Store, digest: str, name: str) -> None:
    """Note that the repository ``name`` (``registry/repository``) has the blob ``digest``.

    Raises:
        MachineError: the cache cannot be written.
    """
    before = known_places(store, digest)
    if not is_digest(digest) or before[:1] == (name,):
        return
    places = [name, *(place for place in before if place != name)][:_MOST]
    with disk_errors(store.root):
        write_atomic(store.place_path(digest), json.dumps(places).encode())


def known_places(store: Store, digest: str) -> tuple[str, ...]:
    """Repositories (``registry/repository``) the blob ``digest`` was seen in, at most 8, the latest first."""
    if not is_digest(digest):
        return ()
    try:
        places = json.loads(store.place_path(digest).read_bytes())
    except (OSError, ValueError, RecursionError):
        return ()
    if not isinstance(places, list):
        return ()
    return tuple(place for place in places if isinstance(place, str) and is_repository_name(place))[:_MOST]
