"""Where in registries a blob is known to be: what pushes and pulls have seen.

It is only ever a hint. A push offers these places to the registry to mount from, and whoever needs the bytes
of a blob that is not in the store asks there; nothing is believed without asking.
"""

from __future__ import annotations

from envbuild.image.reference import is_digest, is_repository_name
from envbuild.store import Store

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
    store.put_record(store.place_path(digest), places)


def known_places(store: Store, digest: str) -> tuple[str, ...]:
    """Repositories (``registry/repository``) the blob ``digest`` was seen in, at most 8, the latest first."""
    if not is_digest(digest):
        return ()
    places = store.record(store.place_path(digest)) or ()
    return tuple(place for place in places if isinstance(place, str) and is_repository_name(place))[:_MOST]
