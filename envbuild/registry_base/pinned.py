"""The image that a lock has as its base, when an image on top of it is made: it is what the lock says."""

from __future__ import annotations

from collections.abc import Callable

from envbuild.errors import RepoError
from envbuild.image.base_config import BaseConfig
from envbuild.image.blobs import blob_chunks
from envbuild.image.reference import Reference, parse_reference
from envbuild.lock.model import BaseImage, ImageLayer, PlatformImage
from envbuild.registry.places import remember_place
from envbuild.registry.registries import Registries
from envbuild.registry.repository import Manifest
from envbuild.registry_base.manifests import checked_config, lost_base, parse_manifest
from envbuild.store import Store

__all__ = ["pinned_config", "remember_image"]


def pinned_config(
    base: BaseImage, platform: str, *, store: Store, registries: Callable[[], Registries]
) -> BaseConfig:
    """The config of the image that ``base`` is for ``platform``.

    Only manifest and config are fetched, and only if they are not in the store. That the registry has the
    layers is remembered, so that they can be mounted, or fetched when they are needed.

    Raises:
        RepoError: the lock says something else of the image than the image itself.
        RemoteError: the registry failed, or no longer has it.
    """
    image = base.platforms[platform]
    reference = parse_reference(base.reference)
    data = _blob(image.digest, image.size, reference, store, registries, manifest=True)
    found = parse_manifest(Manifest(image.digest, image.media_type, data), reference)
    config_data = _blob(image.config, image.config_size, reference, store, registries, manifest=False)
    config = checked_config(found, config_data, reference)
    locked = [(layer.digest, layer.media_type, layer.size) for layer in image.layers]
    if (
        config.platform != platform
        or found.config.digest != image.config
        or [(layer.digest, layer.media_type, layer.size) for layer in found.layers] != locked
        or list(config.diff_ids) != [layer.diff_id for layer in image.layers]
    ):
        raise RepoError(
            f"the lock does not say what the base {base.reference} is: {image.digest} is another image",
            code="base-differs",
            remedy="do not use this lock; make a new one with `envbuild lock --upgrade-base`",
        )
    remember_image(image, reference, store)
    return config


def remember_image(image: PlatformImage, reference: Reference, store: Store) -> None:
    """Note where the layers of ``image`` are."""
    for layer in _unique(image):
        remember_place(store, layer.digest, reference.name)


def _unique(image: PlatformImage) -> list[ImageLayer]:
    return list({layer.digest: layer for layer in image.layers}.values())


def _blob(
    digest: str,
    size: int,
    reference: Reference,
    store: Store,
    registries: Callable[[], Registries],
    *,
    manifest: bool,
) -> bytes:
    """A blob from the store, else from the registry; kept in the store."""
    if not store.has_blob(digest, size):
        repository = registries().repository(reference)
        if manifest:
            found = repository.manifest(digest)
            if found is None:
                raise lost_base(reference, digest)
            store.put_blob(found.data)
        else:
            repository.fetch_blob(digest, size, store)
    return b"".join(blob_chunks(store, digest))
