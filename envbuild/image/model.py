"""What an image is: descriptors of bytes that are in the store.

Terms follow the OCI image specification 1.1: a *layer* has a *diff ID* (the digest of its uncompressed tar)
and a *digest* (of what is stored and sent); an *image* has a *config* (whose digest is the image ID) and a
*manifest*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from envbuild.store import Blob

if TYPE_CHECKING:
    from envbuild.pack.blob import Packed

__all__ = ["MEDIA_TYPES", "Image", "Layer", "layer_compression"]

MEDIA_TYPES = {
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "none": "application/vnd.oci.image.layer.v1.tar",
}

# Docker's own names for the same things. They are not written: some registries and tools refuse a manifest
# of one kind with layers of the other (docs/adr/0026-registry-bases.md).
_DOCKER_TYPES = {
    "application/vnd.docker.image.rootfs.diff.tar": "none",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "zstd",
}


def layer_compression(media_type: str) -> str | None:
    """How a layer of this media type is compressed; None when it is none that we can read.

    >>> layer_compression("application/vnd.docker.image.rootfs.diff.tar.gzip")
    'gzip'
    """
    known = {name: compression for compression, name in MEDIA_TYPES.items()}
    return (known | _DOCKER_TYPES).get(media_type)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer. Its blob is in the store, or in a registry until somebody needs it.

    ``size`` is the stored (compressed) size in bytes, ``raw_size`` that of the tar (0 when it is not known);
    ``packages`` are ``name==version`` strings, sorted; ``captured`` tells that it is what a step changed, so
    that it may remove files of the layers below; ``foreign`` that it is one of the registry's image that the
    base is, whose tar may hold anything; ``key`` is that of the planned layer, "" when there is no
    plan it could be made from again; ``notes`` are what its user may want to know. ``found`` tells where it
    was found when it was not made anew, and ``place`` which registry's repository vouches for what it is, ""
    when it was made on this machine.
    """

    title: str
    diff_id: str
    digest: str
    size: int
    raw_size: int
    compression: str
    packages: tuple[str, ...] = ()
    captured: bool = False
    foreign: bool = False
    key: str = ""
    notes: tuple[str, ...] = ()
    found: Literal["", "store", "registry"] = ""
    place: str = ""

    @classmethod
    def of(
        cls,
        packed: Packed,
        title: str,
        packages: tuple[str, ...] = (),
        *,
        key: str = "",
        found: Literal["", "store", "registry"] = "",
    ) -> Self:
        """The layer that ``packed`` is."""
        return cls(
            title=title,
            diff_id=packed.diff_id,
            digest=packed.digest,
            size=packed.size,
            raw_size=packed.raw_size,
            compression=packed.compression,
            packages=packages,
            key=key,
            notes=packed.notes,
            found=found,
            place=packed.place,
        )

    @property
    def cached(self) -> bool:
        """Whether nothing had to be made for it."""
        return self.found != ""

    @property
    def media_type(self) -> str:
        """The OCI media type for the layer's compression."""
        return MEDIA_TYPES[self.compression]


@dataclass(frozen=True, slots=True)
class Image:
    """One image for one platform; config, manifest and layers (bottom to top) are in the store."""

    platform: str
    config: Blob
    manifest: Blob
    layers: tuple[Layer, ...]

    @property
    def image_id(self) -> str:
        """The digest of the config: the image's identity, whatever the compression."""
        return self.config.digest
