"""Which images a name in a registry stands for: one for each platform, by digest.

Follows the OCI image specification 1.1 (image-index.md, manifest.md); Docker's schema 2 has the same fields.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from envbuild.errors import RemoteError, RepoError
from envbuild.image.base_config import BaseConfig, parse_config
from envbuild.image.blobs import blob_chunks
from envbuild.image.config import CONFIG_TYPE, INDEX_TYPE, MANIFEST_TYPE
from envbuild.image.descriptor import Descriptor, parse_descriptor
from envbuild.image.model import layer_compression
from envbuild.image.reference import Reference
from envbuild.pack import recipe
from envbuild.registry.repository import DOCKER_INDEX_TYPE, DOCKER_MANIFEST_TYPE, Manifest, Repository
from envbuild.source.text import clean
from envbuild.store import Store

__all__ = [
    "ImageManifest",
    "checked_config",
    "lost_base",
    "parse_manifest",
    "read_config",
    "resolve_platforms",
]

_DOCKER_CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
_INDEXES = (INDEX_TYPE, DOCKER_INDEX_TYPE)
_MANIFESTS = (MANIFEST_TYPE, DOCKER_MANIFEST_TYPE)
_LARGEST_CONFIG = 4 << 20
# Any machine of the platform runs an image with this variant of it.
_VARIANTS = {"linux/arm64": ("v8",), "linux/amd64": ("v1",)}


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """The manifest of an image for one platform: itself, its config and its layers, bottom to top."""

    manifest: Descriptor
    data: bytes
    config: Descriptor
    layers: tuple[Descriptor, ...]


def resolve_platforms(
    reference: Reference, repository: Repository, platforms: Sequence[str], store: Store
) -> tuple[str, dict[str, ImageManifest]]:
    """The digest that ``reference`` stands for, and the manifest of its image for each of ``platforms``.

    Raises:
        RepoError: there is no such image, it is not for one of the platforms, or it is not a container image.
        RemoteError: the registry failed, or has lost a part of the image.
    """
    top = repository.manifest(reference.version)
    if top is None:
        raise _error("base-missing", f"there is no image {reference}", "correct the name, or the tag")
    if top.media_type in _INDEXES:
        found = _of_index(top, reference)
    elif top.media_type in _MANIFESTS:
        image = parse_manifest(top, reference)
        found = {read_config(image, reference, repository, store).platform: image.manifest}
    else:
        raise _error(
            "base-unreadable",
            f"{reference} is no image of a kind that can be used: its manifest is {clean(top.media_type)}",
            "use a container image in the format of OCI or of Docker (schema 2)",
        )
    missing = [platform for platform in platforms if platform not in found]
    if missing:
        offered = ", ".join(sorted(found)) or "no platform at all"
        raise _error(
            "base-lacks-platform",
            f"{reference} is not there for {' and '.join(missing)}: it is for {clean(offered)}",
            "use another image as the base, or build for a platform that it has (--platform)",
        )
    images = {}
    for platform in platforms:
        manifest = (
            top if found[platform].digest == top.digest else repository.manifest(found[platform].digest)
        )
        if manifest is None:
            raise RemoteError(
                f"the registry has lost the image of {reference} for {platform}, {found[platform].digest}",
                code="base-missing",
                remedy="try again later; if it goes on, use another image",
            )
        images[platform] = parse_manifest(manifest, reference)
    return top.digest, images


def _of_index(index: Manifest, reference: Reference) -> dict[str, Descriptor]:
    """The images of an index by platform, without variants that not every machine runs."""
    entries = _object(index.data, reference).get("manifests")
    found: dict[str, Descriptor] = {}
    for entry in entries if isinstance(entries, list) else ():
        try:
            descriptor = parse_descriptor(entry)
        except ValueError:
            continue
        if descriptor.platform is None or descriptor.media_type not in _MANIFESTS:
            continue
        system, _, rest = descriptor.platform.partition("/")
        architecture, _, variant = rest.partition("/")
        platform = f"{system}/{architecture}"
        if not variant or variant in _VARIANTS.get(platform, ()):
            found.setdefault(platform, descriptor)
        else:
            found.setdefault(descriptor.platform, descriptor)
    found.pop("unknown/unknown", None)  # attestations, which Docker keeps in indexes
    return found


def parse_manifest(manifest: Manifest, reference: Reference) -> ImageManifest:
    """Read a manifest of a container image.

    Raises:
        RepoError: it is none, or has layers that cannot be used; ``reference`` is named.
    """
    content = _object(manifest.data, reference)
    try:
        config = parse_descriptor(content.get("config"))
        entries = content.get("layers")
        layers = [parse_descriptor(entry) for entry in (entries if isinstance(entries, list) else ())]
    except ValueError as error:
        raise _unreadable(reference, str(error)) from error
    if config.media_type not in (CONFIG_TYPE, _DOCKER_CONFIG_TYPE) or not layers:
        raise _unreadable(reference, f"it is not of a container image, but of {config.media_type}")
    for layer in layers:
        if layer_compression(layer.media_type) is None:
            raise _unreadable(reference, f"it has a layer of the kind {layer.media_type}")
    if len(layers) > recipe.MOST_BASE_LAYERS:
        raise _error(
            "base-many-layers",
            f"{reference} has {len(layers)} layers; of the 125 that Docker takes, a base may have"
            f" {recipe.MOST_BASE_LAYERS}",
            "use an image with fewer layers, or squash that one",
        )
    descriptor = Descriptor(manifest.media_type, manifest.digest, len(manifest.data))
    return ImageManifest(descriptor, manifest.data, config, tuple(layers))


def read_config(
    image: ImageManifest, reference: Reference, repository: Repository, store: Store
) -> BaseConfig:
    """The config of ``image``, which is in ``store`` from then on.

    Raises:
        RepoError: it is not one of a container image, or does not fit the manifest.
        RemoteError: the registry failed.
    """
    if image.config.size > _LARGEST_CONFIG:
        raise _unreadable(reference, f"its config has {image.config.size} bytes")
    repository.fetch_blob(image.config.digest, image.config.size, store)
    return checked_config(image, b"".join(blob_chunks(store, image.config.digest)), reference)


def checked_config(image: ImageManifest, data: bytes, reference: Reference) -> BaseConfig:
    """The config ``data`` of ``image``; raises as :func:`read_config`."""
    try:
        config = parse_config(data)
    except ValueError as error:
        raise _unreadable(reference, f"of its config, {error}") from error
    if len(config.diff_ids) != len(image.layers):
        raise _unreadable(
            reference, f"it has {len(image.layers)} layers, and its config {len(config.diff_ids)}"
        )
    return config


def lost_base(reference: Reference, digest: str) -> RemoteError:
    """The error for a registry that has the image ``digest``, which a lock has, no longer."""
    return RemoteError(
        f"{reference.name} no longer has the image that the lock has as its base, {digest}",
        code="base-missing",
        remedy="take a newer one with `envbuild lock --upgrade-base`, or ask who runs the registry",
    )


def _object(data: bytes, reference: Reference) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _unreadable(reference, "it is not JSON") from error
    if not isinstance(content, dict):
        raise _unreadable(reference, "it is not an object")
    return content


def _unreadable(reference: Reference, reason: str) -> RepoError:
    return _error(
        "base-unreadable",
        f"the manifest of {reference} cannot be used: {clean(reason)}",
        "use another image as the base",
    )


def _error(code: str, message: str, remedy: str) -> RepoError:
    return RepoError(message, code=code, remedy=remedy)
