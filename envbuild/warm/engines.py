"""What a node's engine is to whoever warms the node: what it has, and how it gets and loses images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from envbuild.image.reference import Reference
from envbuild.inspection.medium import Medium
from envbuild.inspection.view import ImageView, LayerView
from envbuild.warm.images import chain_ids, unpacked_size

__all__ = ["Inventory", "KeptImage", "NodeEngine", "Wanted", "pinned_name"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image that a node shall have: ``reference`` has its digest, ``medium`` its documents."""

    reference: Reference
    medium: Medium
    view: ImageView


@dataclass(frozen=True, slots=True)
class KeptImage:
    """An image that was brought here to be warm: ``name`` is ``registry/repository@digest``, ``fleets`` are
    those that want it, ``in_use`` tells that there are containers of it, running or not.
    """

    name: str
    fleets: frozenset[str]
    in_use: bool


@dataclass(frozen=True, slots=True)
class Inventory:
    """What an engine has: ``blobs`` by digest, None if it keeps none, and unpacked layers by chain ID."""

    blobs: frozenset[str] | None
    chains: frozenset[str]

    def pull_size(self, view: ImageView) -> int:
        """Bytes that have to be pulled for ``view``."""
        return sum({layer.digest: layer.size for layer in self._missing(view)}.values())

    def disk_size(self, view: ImageView) -> int:
        """Bytes that ``view`` takes besides what is there, unpacked and packed."""
        unpacked = {
            chain: unpacked_size(layer) for chain, layer in _chained(view) if chain not in self.chains
        }
        return self.pull_size(view) + sum(unpacked.values())

    def joined(self, view: ImageView) -> Inventory:
        """What it will have when it has ``view``, too."""
        blobs = None if self.blobs is None else self.blobs | {layer.digest for layer in view.layers}
        return Inventory(blobs, self.chains | {chain for chain, _ in _chained(view)})

    def _missing(self, view: ImageView) -> Iterator[LayerView]:
        for chain, layer in _chained(view):
            if chain not in self.chains if self.blobs is None else layer.digest not in self.blobs:
                yield layer


class NodeEngine(Protocol):
    """What starts containers on this machine.

    All methods raise :class:`envbuild.errors.MachineError` when it cannot be used or fails.
    """

    name: str

    def inventory(self) -> Inventory:
        """What it has."""

    def free(self) -> int | None:
        """Bytes that are free where it keeps images; None if that cannot be seen from here."""

    def has(self, reference: Reference) -> bool:
        """Whether containers of the image can be started at once."""

    def pull(self, wanted: Wanted, *, fleet: str, sent: Callable[[int], None]) -> None:
        """Bring an image and note that it is kept for ``fleet``.

        Parameters:
            sent: called with numbers of bytes that arrived, from any thread.

        Raises:
            RemoteError: the registry failed.
        """

    def kept(self) -> tuple[KeptImage, ...]:
        """The images that were brought by :meth:`pull`, by name."""

    def claim(self, image: KeptImage, fleet: str) -> None:
        """Note that ``image`` is kept for ``fleet``, too."""

    def release(self, image: KeptImage, fleet: str) -> bool:
        """Note that ``fleet`` does not need ``image``; it goes if no other does. Returns whether it went."""


def _chained(view: ImageView) -> Iterator[tuple[str, LayerView]]:
    """The layers of an image from the lowest up, each with its chain ID."""
    return zip(chain_ids(layer.diff_id for layer in view.layers), view.layers, strict=True)


def pinned_name(reference: Reference) -> str:
    """What engines call an image that has a digest: the tag is left out, as Kubernetes does."""
    return f"{reference.name}@{reference.digest}"
