"""Layers that were made before: where they are looked for, and how their bytes get here when they are needed.

A layer can be found without its bytes: a registry knows what it is, and an image that has it can be
assembled, named and pushed. Whoever reads a layer asks for its bytes first (:data:`Bring`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, TypeVar

from envbuild.image.model import Layer
from envbuild.pack.blob import Packed, find_packed
from envbuild.progress import Reporter
from envbuild.store import Store

__all__ = ["Bring", "Found", "Layers", "LayersLost", "StoredLayers", "all_here", "without_lost"]

_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Found:
    """A layer that need not be made, and where it was found: its bytes are there."""

    packed: Packed
    where: Literal["store", "registry"]


class LayersLost(Exception):
    """Layers that were found turn out not to be had; from now on they are not found any more."""

    code = "layers-lost"


class Layers(Protocol):
    """Finds layers. Methods may be called from any thread."""

    def find(self, keys: Iterable[str]) -> dict[str, Found]:
        """The layers with these plan keys that need not be made."""

    def bring(self, layers: Sequence[Layer], reporter: Reporter) -> None:
        """Have the blobs of ``layers`` in the store.

        Raises:
            LayersLost: one cannot be had, but can be made: what was assembled with it has to be made anew.
            RemoteError: one cannot be had, and nobody here could make it.
        """


Bring = Callable[[Sequence[Layer], Reporter], None]
"""What :meth:`Layers.bring` is."""


def all_here(layers: Sequence[Layer], reporter: Reporter) -> None:
    """A :data:`Bring` for images whose bytes are all in the store."""


def without_lost(make: Callable[[], _Made]) -> _Made:
    """What ``make`` returns, in a second attempt if it lost layers in the first."""
    try:
        return make()
    except LayersLost:
        return make()


@dataclass(frozen=True, slots=True)
class StoredLayers:
    """The layers of the store.

    Parameters:
        compression: how layers have to be compressed; one that is there in another way is encoded anew.
        jobs: how many are encoded at once.
        trusted: repositories in registries (``registry/repository``) that may say what a layer is.
    """

    store: Store
    compression: str
    jobs: int = 1
    trusted: Collection[str] = ()

    def find(self, keys: Iterable[str]) -> dict[str, Found]:
        """See :meth:`Layers.find`."""
        unique = dict.fromkeys(keys)
        find = partial(find_packed, self.store, compression=self.compression, trusted=self.trusted)
        with ThreadPoolExecutor(self.jobs) as pool:
            packed = list(pool.map(find, unique))
        return {key: Found(one, "store") for key, one in zip(unique, packed, strict=True) if one is not None}

    def bring(self, layers: Sequence[Layer], reporter: Reporter) -> None:
        """See :meth:`Layers.bring`: they are there, or whoever reads them says that they are damaged."""
