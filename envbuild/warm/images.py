"""What the images of a fleet are made of, as their registries tell: manifests and configs, never layers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from envbuild.errors import EnvbuildError, RepoError, UsageError
from envbuild.fleet.model import Fleet, Pool
from envbuild.image.reference import Reference
from envbuild.inspection.remote import RemoteImage
from envbuild.inspection.view import ImageView, LayerView, chosen_manifests, read_image
from envbuild.warm.planner import Piece, PoolPlan, WarmImage, plan_pool

if TYPE_CHECKING:
    from envbuild.registry.registries import Registries

__all__ = [
    "DISK_FACTOR",
    "UNPACKED_FACTOR",
    "chain_ids",
    "image_contents",
    "plan_fleet",
    "pool_references",
    "unpacked_size",
    "warm_image",
]

UNPACKED_FACTOR: Final = 3.7
"""How much larger the tar of a layer is than its blob, where its manifest does not say so."""
DISK_FACTOR: Final = 1.2
"""How much larger a layer is on a file system with blocks of 4 KiB than its tar (docs/adr/0044-warm.md)."""


def pool_references(
    fleet: Fleet, references: Mapping[str, Reference], pool: Pool
) -> dict[Reference, list[str]]:
    """The images that nodes of ``pool`` keep, each with its environments; ``references`` is by environment.

    An environment without pools is for all of them.
    """
    found: dict[Reference, list[str]] = {}
    for environment in fleet.environments:
        if not environment.pools or pool.name in environment.pools:
            reference = references[environment.name]
            pinned = Reference(reference.registry, reference.repository, None, reference.digest)
            found.setdefault(pinned, []).append(environment.name)
    return found


def plan_fleet(
    fleet: Fleet, references: Mapping[str, Reference], registries: Registries, *, jobs: int = 8
) -> tuple[PoolPlan, ...]:
    """The plan of every pool, in the fleet's order.

    Parameters:
        references: the image of each environment, with a digest.
        jobs: how many images are asked for at once.

    Raises:
        RepoError: an image is not there any more, or not for a pool's platform; names the environment.
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
    launches = {environment.name: environment.launches for environment in fleet.environments}
    wanted = {pool.name: pool_references(fleet, references, pool) for pool in fleet.pools}
    asked = sorted(
        {(str(reference), pool.platform) for pool in fleet.pools for reference in wanted[pool.name]}
    )
    by_name = {str(reference): reference for found in wanted.values() for reference in found}
    users = {str(reference): names for found in wanted.values() for reference, names in found.items()}

    def read(key: tuple[str, str]) -> ImageView:
        return _read(by_name[key[0]], key[1], registries, users[key[0]], fleet)

    with ThreadPoolExecutor(jobs) as threads:
        views = dict(zip(asked, threads.map(read, asked), strict=True))
    return tuple(
        plan_pool(
            pool,
            [
                warm_image(
                    reference,
                    views[str(reference), pool.platform],
                    names,
                    sum(launches[name] for name in names),
                )
                for reference, names in wanted[pool.name].items()
            ],
        )
        for pool in fleet.pools
    )


def image_contents(reference: Reference, platform: str, registries: Registries) -> tuple[Piece, ...]:
    """The contents of an image that a node says it has; none when its registry does not tell any more."""
    try:
        return warm_image(reference, _view(reference, platform, registries), (), 0).contents
    except EnvbuildError:
        return ()


def _view(reference: Reference, platform: str, registries: Registries) -> ImageView:
    medium = RemoteImage(reference, registries.repository(reference))
    (manifest,) = chosen_manifests(medium, medium.entries(), [platform], platform)
    view = read_image(medium, manifest)
    if not f"{view.platform}/".startswith(f"{platform}/"):
        raise UsageError(f"it is for {view.platform}", code="no-such-platform")
    return view


def _read(
    reference: Reference, platform: str, registries: Registries, environments: Sequence[str], fleet: Fleet
) -> ImageView:
    try:
        return _view(reference, platform, registries)
    except UsageError as error:
        names, file = ", ".join(environments), str(fleet.path)
        if error.code == "no-image-there":
            raise RepoError(
                f"the image of {names} is not in its registry any more: {reference}",
                code="warm-image-gone",
                file=file,
                remedy=f"build and pin it anew: `envbuild build --fleet {file}`, or push it again",
            ) from error
        raise RepoError(
            f"the image of {names} is not for {platform}: {reference}",
            code="warm-image-platform",
            file=file,
            remedy="build it for that platform, or keep the environment out of pools of that platform",
        ) from error


def warm_image(
    reference: Reference, view: ImageView, environments: Sequence[str], launches: int
) -> WarmImage:
    """What keeping ``view`` takes: an image for ``environments``, started ``launches`` times a week."""
    parts = (view.manifest, view.config, *(layer.descriptor for layer in view.layers))
    contents = {one.digest: Piece(one.digest, one.size) for one in parts}
    chains = chain_ids(layer.diff_id for layer in view.layers)
    snapshots = {
        chain: Piece(chain, unpacked_size(layer)) for chain, layer in zip(chains, view.layers, strict=True)
    }
    return WarmImage(
        reference,
        tuple(environments),
        launches,
        tuple(contents.values()),
        tuple(snapshots.values()),
        any(layer.raw_size is None for layer in view.layers),
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
