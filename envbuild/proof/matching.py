"""Which layer of an image stands where which one should. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from envbuild.image.model import Layer
from envbuild.inspection.view import LayerView

__all__ = ["Pair", "match"]


@dataclass(frozen=True, slots=True)
class Pair:
    """A layer that was made, and the one of the image that is in its place; None where there is none.

    ``moved`` tells that the image has the very same layer, but not between the same others.
    """

    made: Layer | None
    found: LayerView | None
    moved: bool = False


def match(made: Sequence[Layer], found: Sequence[LayerView]) -> tuple[Pair, ...]:
    """Every layer of both, each once: those that were made in their order, then what else the image has.

    Layers belong together that are the same; of the others, those with the same title, if each side has as
    many of that title; then those that are at the same place, counted without all these.
    """
    partner: dict[int, int] = {}
    for made_keys, found_keys in (
        ([layer.digest for layer in made], [layer.digest for layer in found]),
        ([layer.diff_id for layer in made], [layer.diff_id for layer in found]),
        ([layer.title for layer in made], [layer.title for layer in found]),
    ):
        _pair(partner, made_keys, found_keys)
    taken = set(partner.values())
    left = [at for at in range(len(made)) if at not in partner]
    rest = [at for at in range(len(found)) if at not in taken]
    if len(left) == len(rest):
        partner |= dict(zip(left, rest, strict=True))
    moved = _moved(partner)
    pairs = [
        Pair(layer, found[partner[at]], moved=at in moved) if at in partner else Pair(layer, None)
        for at, layer in enumerate(made)
    ]
    unexpected = set(range(len(found))) - set(partner.values())
    return (*pairs, *(Pair(None, found[at]) for at in sorted(unexpected)))


def _pair(partner: dict[int, int], made: Sequence[Hashable], found: Sequence[Hashable]) -> None:
    """Add to ``partner`` what has the same key on both sides and no other with that key."""
    taken = set(partner.values())
    left = [at for at in range(len(made)) if at not in partner]
    rest = [at for at in range(len(found)) if at not in taken]
    for at in left:
        key = made[at]
        here = [other for other in left if made[other] == key]
        there = [other for other in rest if found[other] == key]
        if len(here) == len(there):
            partner[at] = there[here.index(at)]


def _moved(partner: dict[int, int]) -> set[int]:
    """Those of the made layers whose partners are out of order: as few as explain it."""
    order = sorted(partner)
    places = sorted(order, key=lambda at: partner[at])
    kept: set[int] = set()
    for block in SequenceMatcher(None, order, places, autojunk=False).get_matching_blocks():
        kept.update(order[block.a : block.a + block.size])
    return set(order) - kept
