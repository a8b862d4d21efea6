"""What the images of a fleet are made of, as their registries tell: manifests and configs, never layers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from envbuild.errors import EnvbuildError, RepoError, UsageError
from envbuild.fleet.model import Environment, Fleet, Pin, Pool
from envbuild.image.reference import Reference
from envbuild.inspection.remote import RemoteImage
from envbuild.inspection.view import ImageView, LayerView, chosen_manifests, read_image
from envbuild.warm.planner import Gone, Piece, PoolPlan, WarmImage, plan_pool

if TYPE_CHECKING:
    from envbuild.registry.registries import Registries

__all__ = [
    "DISK_FACTOR",
    "UNPACKED_FACTOR",
    "PoolImage",
    "chain_ids",
    "image_contents",
    "plan_fleet",
    "pool_images",
    "unpacked_size",
    "warm_image",
]

UNPACKED_FACTOR: Final = 3.7
"""How much larger the tar of a layer is than its blob, where its manifest does not say so."""
DISK_FACTOR: Final = 1.2
"""How much larger a layer is on a file system with blocks of 4 KiB than its tar (docs/adr/0044-warm.md)."""


@dataclass(frozen=True, slots=True)
class PoolImage:
    """An image that nodes of a pool keep: ``environments`` start from it, or did so before (``previous``).

    ``reference`` has a digest and no tag; ``launches`` is how often all of them are started in a week.
    """

    reference: Reference
    environments: tuple[str, ...] = ()
    launches: int = 0
    previous: bool = False


def pool_images(fleet: Fleet, pins: Mapping[str, Pin], pool: Pool) -> tuple[PoolImage, ...]:
    """The images that nodes of ``pool`` keep: those of its environments, then those that these had before.

    An environment without pools is for all of them. An image that any environment is now is no previous one.

    Parameters:
        pins: what each environment is.
    """
    own = [one for one in fleet.environments if not one.pools or pool.name in one.pools]
    now = _users((one, pins[one.name].reference) for one in own)
    before = _users((one, pins[one.name].previous) for one in own) if pool.keep_previous else {}
    return tuple(
        PoolImage(
            reference, tuple(one.name for one in users), sum(one.launches for one in users), found is before
        )
        for found in (now, before)
        for reference, users in found.items()
        if found is now or reference not in now
    )


def _users(
    images: Iterable[tuple[Environment, Reference | None]],
) -> dict[Reference, list[Environment]]:
    found: dict[Reference, list[Environment]] = {}
    for environment, image in images:
        if image is not None:
            pinned = Reference(image.registry, image.repository, None, image.digest)
            found.setdefault(pinned, []).append(environment)
    return found


def plan_fleet(fleet: Fleet, pins: Mapping[str, Pin], registries: Registries) -> tuple[PoolPlan, ...]:
    """The plan of every pool, in the fleet's order.

    Parameters:
        pins: what each environment is.

    Raises:
        RepoError: an image is not there any more, or not for a pool's platform; names the environment, and
            in its detail what else there is of the kind. A previous image that is not there is ``gone`` in
            the plan instead.
        UsageError: the fleet has no pools, or two environments a pool that cannot be kept warm.
        RemoteError: a registry failed.
    """
    if not fleet.pools:
        raise UsageError(
            f"the fleet {fleet.name} has no pools of nodes",
            code="fleet-no-pools",
            file=str(fleet.path),
            remedy="describe the nodes: [pools.NAME] with a selector",
        )
    wanted = {pool.name: pool_images(fleet, pins, pool) for pool in fleet.pools}
    asked: dict[tuple[str, str], PoolImage] = {}
    for pool in fleet.pools:
        for one in wanted[pool.name]:
            key = (str(one.reference), pool.platform)
            # What is missing is an error if any pool's environments are that image now.
            if key not in asked or asked[key].previous:
                asked[key] = one

    def read(key: tuple[str, str]) -> WarmImage | RepoError:
        try:
            return warm_image(asked[key], _read(asked[key], key[1], registries, fleet))
        except RepoError as error:
            return error

    keys = sorted(asked)
    with ThreadPoolExecutor(registries.jobs) as threads:
        told = dict(zip(keys, threads.map(read, keys), strict=True))
    found = [(asked[key], one) for key, one in told.items()]
    if missing := [error for one, error in found if isinstance(error, RepoError) and not one.previous]:
        # All of them at once: what a registry's retention took is seldom one image.
        missing[0].detail = "\n".join(error.message for error in missing[1:]) or None
        raise missing[0]
    return tuple(
        _plan(pool, [(one, told[str(one.reference), pool.platform]) for one in wanted[pool.name]])
        for pool in fleet.pools
    )


def _plan(pool: Pool, images: Iterable[tuple[PoolImage, WarmImage | RepoError]]) -> PoolPlan:
    there, gone = [], []
    for one, found in images:
        if isinstance(found, RepoError):
            gone.append(Gone(one.reference, one.environments, found.message))
        else:
            # What it is made of is the same in every pool; who starts from it is not.
            there.append(
                replace(found, environments=one.environments, launches=one.launches, previous=one.previous)
            )
    return replace(plan_pool(pool, there), gone=tuple(gone))


def image_contents(reference: Reference, platform: str, registries: Registries) -> tuple[Piece, ...]:
    """The contents of an image that a node says it has; none when its registry does not tell any more."""
    try:
        return warm_image(PoolImage(reference), _view(reference, platform, registries)).contents
    except EnvbuildError:
        return ()


def _view(reference: Reference, platform: str, registries: Registries) -> ImageView:
    medium = RemoteImage(reference, registries.repository(reference))
    (manifest,) = chosen_manifests(medium, medium.entries(), [platform], platform)
    view = read_image(medium, manifest)
    if not f"{view.platform}/".startswith(f"{platform}/"):
        raise UsageError(f"it is for {view.platform}", code="no-such-platform")
    return view


def _read(image: PoolImage, platform: str, registries: Registries, fleet: Fleet) -> ImageView:
    try:
        return _view(image.reference, platform, registries)
    except UsageError as error:
        names, file = ", ".join(image.environments), str(fleet.path)
        what = f"the {'previous ' if image.previous else ''}image of {names}"
        if error.code == "no-image-there":
            raise RepoError(
                f"{what} is not in its registry any more: {image.reference}",
                code="warm-image-gone",
                file=file,
                remedy=f"build and pin it anew: `envbuild build --fleet {file}`, or push it again",
            ) from error
        raise RepoError(
            f"{what} is not for {platform}: {image.reference}",
            code="warm-image-platform",
            file=file,
            remedy="build it for that platform, or keep the environment out of pools of that platform",
        ) from error


def warm_image(image: PoolImage, view: ImageView) -> WarmImage:
    """What keeping ``image``, of which ``view`` is what a registry told, takes."""
    parts = (view.manifest, view.config, *(layer.descriptor for layer in view.layers))
    contents = {one.digest: Piece(one.digest, one.size) for one in parts}
    chains = chain_ids(layer.diff_id for layer in view.layers)
    snapshots = {
        chain: Piece(chain, unpacked_size(layer)) for chain, layer in zip(chains, view.layers, strict=True)
    }
    return WarmImage(
        image.reference,
        image.environments,
        image.launches,
        tuple(contents.values()),
        tuple(snapshots.values()),
        any(layer.raw_size is None for layer in view.layers),
        image.previous,
    )


def chain_ids(diff_ids: Iterable[str]) -> Iterator[str]:
    """The chain IDs of layers, from the lowest up (OCI image specification 1.1, config.md)."""
    chain = ""
    for diff_id in diff_ids:
        chain = "sha256:" + hashlib.sha256(f"{chain} {diff_id}".encode()).hexdigest() if chain else diff_id
        yield chain


def unpacked_size(layer: LayerView) -> int:
    """Bytes that the unpacked layer takes, estimated if its manifest does not say."""
    tar = layer.raw_size if layer.raw_size is not None else layer.size * UNPACKED_FACTOR
    return round(tar * DISK_FACTOR)
