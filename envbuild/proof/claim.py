"""What an image claims to be, and whether that is something that can be verified."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from envbuild.errors import RepoError, UsageError
from envbuild.inspection.inside import Inside
from envbuild.inspection.view import ImageView
from envbuild.layers import REPOSITORY_TITLE
from envbuild.lock.model import Lock
from envbuild.source.text import quote
from envbuild.spec.post_build import STEP as POST_BUILD
from envbuild.store import Store

__all__ = ["Claim", "Form", "claim_of", "require_no_source"]

Form = Literal["environment", "executed", "complete"]


@dataclass(frozen=True, slots=True)
class Claim:
    """What has to be made to compare an image with.

    ``form`` is ``environment`` (packages alone), ``executed`` (with what ``postBuild`` changes) or
    ``complete`` (with the repository's files); ``lock`` is the one in the image, ``lock_bytes`` its text;
    ``compression`` is that of most layers.
    """

    form: Form
    lock: Lock
    lock_bytes: bytes
    compression: str


def claim_of(name: str, image: ImageView, inside: Inside) -> Claim:
    """What the image ``image``, called ``name``, claims to be.

    Nothing of a claim is believed: a false one gives something else when it is made.

    Raises:
        UsageError: envbuild did not make the image.
        RepoError: its lock is not there, cannot be used, or is not the one it says it was made from.
    """
    if image.builder != "envbuild":
        raise UsageError(
            f"{quote(name)} was not made by envbuild, so there is no lock to verify it with",
            code="not-by-envbuild",
            remedy="name an image that `envbuild build` has made",
        )
    if inside.lock is None or inside.lock_bytes is None or inside.trouble is not None:
        raise RepoError(
            f"{quote(name)} cannot be what its lock says: {inside.trouble}",
            code="bad-lock-inside",
            remedy="do not use it; build it anew from the repository",
        )
    titles = {layer.title for layer in image.layers if layer.ours}
    form: Form = "environment"
    if POST_BUILD in titles:
        form = "executed"
    if REPOSITORY_TITLE in titles:
        form = "complete"
    compressions = Counter(layer.compression or "zstd" for layer in image.layers if layer.ours)
    return Claim(form, inside.lock, inside.lock_bytes, compressions.most_common(1)[0][0])


def require_no_source(name: str, claim: Claim, store: Store) -> None:
    """Raise :class:`UsageError` when the repository is needed to make what ``claim`` is about."""
    reason = None
    if claim.form == "complete":
        reason = "it has the repository's files"
    elif claim.form == "executed":
        reason = f"{POST_BUILD} has changed it"
    for target in claim.lock.targets:
        for built in target.built:
            wheel = next((wheel for wheel in target.wheels if wheel.name == built.name), None)
            if wheel is None or not store.artifact_path(wheel.artifact.sha256).is_file():
                reason = reason or f"{built.name} has to be built for it"
    if reason is not None:
        raise UsageError(
            f"{quote(name)} cannot be made again from its lock alone: {reason}",
            code="source-needed",
            remedy=f"name the repository, too: envbuild verify SOURCE --image {name}",
        )
