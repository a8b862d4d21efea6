"""Which layers two images share, and what travels when one takes the other's place. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from envbuild.inspection.view import ImageView, LayerView
from envbuild.layers import LayerPlan, RegistryLayer

__all__ = [
    "LayerChange",
    "LayerDifference",
    "LayerFact",
    "image_layers",
    "layer_difference",
    "planned_layers",
]


@dataclass(frozen=True, slots=True)
class LayerFact:
    """A layer, as far as it matters here.

    ``identity`` is equal for layers with the same files: a diff ID, or a planned layer's key. ``digest`` is
    what is stored under it and ``size`` (bytes) what that is, None for a layer that is only planned.
    """

    identity: str
    title: str
    packages: tuple[str, ...] = ()
    digest: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class LayerChange:
    """A layer that only one has (the other is None), or two under the same title that are not the same."""

    before: LayerFact | None
    after: LayerFact | None

    @property
    def title(self) -> str:
        """What is in it."""
        fact = self.after or self.before
        return fact.title if fact else ""


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """The layers of two images.

    ``shared`` are those of the second that the first has with the same files, ``changed`` the others, in the
    order of the images; ``moved`` tells that the shared ones are not in the same order. ``pull`` is how many
    bytes of the second a store that keeps layers by their digest lacks when it has the first; ``pull_above``
    how many Docker's classic store fetches, which starts anew above the first layer that is not the same.
    Both are None unless both are images.
    """

    shared: tuple[LayerFact, ...]
    changed: tuple[LayerChange, ...]
    moved: bool
    pull: int | None
    pull_above: int | None


def image_layers(image: ImageView) -> tuple[LayerFact, ...]:
    """The layers of an image, identified by their diff IDs."""
    return tuple(
        LayerFact(layer.diff_id, layer.title, layer.packages, layer.digest, layer.size)
        for layer in image.layers
    )


def keyed_layers(layers: Sequence[LayerView]) -> tuple[LayerFact, ...]:
    """The layers of an image by the keys of the planned layers they are, a base's by their digests."""
    return tuple(
        LayerFact(
            layer.digest if layer.foreign else layer.key,
            layer.title,
            layer.packages,
            layer.digest,
            layer.size,
        )
        for layer in layers
    )


def planned_layers(layers: Sequence[LayerPlan]) -> tuple[LayerFact, ...]:
    """The layers of a plan, identified as by :func:`keyed_layers`."""
    return tuple(
        LayerFact(
            layer.layer.digest if isinstance(layer, RegistryLayer) else layer.key, layer.title, layer.packages
        )
        for layer in layers
    )


def layer_difference(before: Sequence[LayerFact], after: Sequence[LayerFact]) -> LayerDifference:
    """How the layers of ``after`` differ from those of ``before``, both bottom to top."""
    old, new = {fact.identity for fact in before}, {fact.identity for fact in after}
    gone = [fact for fact in before if fact.identity not in new]
    added = [fact for fact in after if fact.identity not in old]
    shared = tuple(fact for fact in after if fact.identity in old)
    kept = [fact for fact in before if fact.identity in new]
    are_images = all(fact.size is not None for fact in (*before, *after))
    return LayerDifference(
        shared=shared,
        changed=_paired(gone, added),
        moved=[fact.identity for fact in shared] != [fact.identity for fact in kept],
        pull=_pulled(before, after) if are_images else None,
        pull_above=_pulled_above(before, after) if are_images else None,
    )


def _paired(gone: Sequence[LayerFact], added: Sequence[LayerFact]) -> tuple[LayerChange, ...]:
    """What came in the place of what: layers with the same title, each of which is there once."""
    left = {fact.title: fact for fact in gone if _is_only(fact, gone) and fact.title}
    changes = []
    for fact in added:
        before = left.pop(fact.title, None) if _is_only(fact, added) else None
        changes.append(LayerChange(before, fact))
    replaced = {id(change.before) for change in changes}
    return (*(LayerChange(fact, None) for fact in gone if id(fact) not in replaced), *changes)


def _is_only(fact: LayerFact, among: Sequence[LayerFact]) -> bool:
    return sum(other.title == fact.title for other in among) == 1


def _pulled(before: Sequence[LayerFact], after: Sequence[LayerFact]) -> int:
    had = {fact.digest for fact in before}
    return _bytes(fact for fact in after if fact.digest not in had)


def _pulled_above(before: Sequence[LayerFact], after: Sequence[LayerFact]) -> int:
    same = 0
    for one, two in zip(before, after, strict=False):
        if (one.identity, one.digest) != (two.identity, two.digest):
            break
        same += 1
    return _bytes(after[same:])


def _bytes(layers: Iterable[LayerFact]) -> int:
    """The size of the blobs, each counted once."""
    return sum({fact.digest: fact.size or 0 for fact in layers}.values())
