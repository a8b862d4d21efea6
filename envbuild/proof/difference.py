"""How two things differ that locks and images are: what ``envbuild diff`` says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from envbuild.errors import UsageError
from envbuild.inspection.inspector import Seen
from envbuild.layers import REPOSITORY_TITLE
from envbuild.lock.difference import Change, lock_difference
from envbuild.plan import make_plan
from envbuild.proof.configuration import ConfigChange, config_difference
from envbuild.proof.layers import (
    LayerDifference,
    LayerFact,
    image_layers,
    keyed_layers,
    layer_difference,
    planned_layers,
)
from envbuild.source.text import quote
from envbuild.spec.post_build import STEP as POST_BUILD

__all__ = ["Difference", "difference"]

# What a plan made of a lock alone does not have.
_NOT_PLANNED = frozenset({REPOSITORY_TITLE, POST_BUILD})


@dataclass(frozen=True, slots=True)
class Difference:
    """What is different between two things.

    ``identical`` tells that there is nothing: the same bytes under both names. ``lock`` is None unless there
    is a lock on both sides, ``layers`` unless there are layers that can be compared, ``config`` unless both
    are images. ``platform`` is the one whose layers and configs were compared.
    """

    identical: bool
    platform: str | None
    lock: tuple[Change, ...] | None
    layers: LayerDifference | None
    config: tuple[ConfigChange, ...] | None

    @property
    def same(self) -> bool:
        """Whether there is no change, even if the bytes are others: compressed otherwise, for example."""
        layers = self.layers is None or not (self.layers.changed or self.layers.moved)
        return layers and not self.lock and not self.config


def difference(before: Seen, after: Seen, platforms: Sequence[str] = ()) -> Difference:
    """How ``after`` differs from ``before``.

    Parameters:
        platforms: look only at these.

    Raises:
        UsageError: the images are for different platforms, or there is nothing that both have.
    """
    lock = None
    if before.lock is not None and after.lock is not None:
        lock = lock_difference(before.lock, after.lock, platforms)
    if before.images and after.images:
        one, two = before.images[0].view, after.images[0].view
        if one.platform != two.platform:
            raise UsageError(
                f"the first is an image for {one.platform}, the second one for {two.platform}",
                code="different-platforms",
                remedy="name a platform that both have with --platform",
            )
        return Difference(
            identical=one.manifest.digest == two.manifest.digest,
            platform=one.platform,
            lock=lock,
            layers=layer_difference(image_layers(one), image_layers(two)),
            config=config_difference(one.document, two.document),
        )
    platform = _common_platform(before, after, platforms)
    layers = None
    facts = [_by_key(seen, platform) for seen in (before, after)] if platform else [None]
    if all(fact is not None for fact in facts):
        layers = layer_difference(*(fact for fact in facts if fact is not None))
    if lock is None and layers is None:
        without = next(seen for seen in (before, after) if seen.lock is None)
        raise UsageError(
            f"{quote(without.name)} has no lock, and only one of the two is an image",
            code="not-comparable",
            remedy="compare two images or two locks",
        )
    identical = before.lock_bytes == after.lock_bytes and not before.images and not after.images
    return Difference(identical, platform, lock, layers, None)


def _common_platform(before: Seen, after: Seen, wanted: Sequence[str]) -> str | None:
    looked_at = [
        {image.view.platform for image in seen.images} if seen.images else set(seen.platforms)
        for seen in (before, after)
    ]
    common = sorted(set.intersection(*looked_at) & set(wanted or looked_at[0]))
    return common[0] if common else None


def _by_key(seen: Seen, platform: str) -> tuple[LayerFact, ...] | None:
    """The layers of the environment, by what they are made from; None when that is not known."""
    for image in seen.images:
        if image.view.platform == platform:
            layers = [layer for layer in image.view.layers if layer.title not in _NOT_PLANNED]
            if not all(layer.key or layer.foreign for layer in layers):
                return None
            return keyed_layers(layers)
    if seen.lock is None or seen.lock_bytes is None:
        return None
    return planned_layers(make_plan(seen.lock, platform, seen.lock_bytes).layers)
