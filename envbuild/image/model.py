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

__all__ = ["MEDIA_TYPES", "Image", "Layer"]

MEDIA_TYPES = {
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "none": "application/vnd.oci.image.layer.v1.tar",
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer. Its blob is in the store, or in a registry until somebody needs it.

    ``size`` is the stored (compressed) size in bytes, ``raw_size`` that of the tar (0 when it is not known);
    ``packages`` are ``name==version`` strings, sorted; ``captured`` tells that it is what a step changed, so
    that it may remove files of the layers below; ``key`` is that of the planned layer, "" when there is no
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
