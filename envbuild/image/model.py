"""What an image is: descriptors of bytes that are in the store.

Terms follow the OCI image specification 1.1: a *layer* has a *diff ID* (the digest of its uncompressed tar)
and a *digest* (of what is stored and sent); an *image* has a *config* (whose digest is the image ID) and a
*manifest*.
"""

from __future__ import annotations

from dataclasses import dataclass

from envbuild.store import Blob

__all__ = ["MEDIA_TYPES", "Image", "Layer"]

MEDIA_TYPES = {
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "none": "application/vnd.oci.image.layer.v1.tar",
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer whose blob is in the store.

    ``size`` is the stored (compressed) size in bytes, ``raw_size`` that of the tar; ``packages`` are
    ``name==version`` strings, sorted; ``cached`` tells that nothing had to be packed for it, ``captured``
    that it is what a step changed, so that it may remove files of the layers below.
    """

    title: str
    diff_id: str
    digest: str
    size: int
    raw_size: int
    compression: str
    packages: tuple[str, ...] = ()
    cached: bool = False
    captured: bool = False

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
