"""Reading an image's bytes out of the store, checked against their digests on the way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace

from envbuild.errors import MachineError
from envbuild.image.config import canonical, image_manifest
from envbuild.image.model import Image, Layer
from envbuild.pack import codec
from envbuild.pack.blob import Packed
from envbuild.store import Store
from envbuild.store.store import file_digest

__all__ = ["blob_chunks", "layer_chunks", "not_a_layer", "uncompressed"]

_CHUNK = 1 << 20


def not_a_layer(store: Store, layer: Layer | Packed, why: str) -> MachineError:
    """The error for a layer that cannot be read as what the image says it is.

    When its blob is not what its own name says, the cache is to blame: the blob is removed, and doing the
    same again mends it (:class:`DamagedError`). Otherwise the image, which came from a registry, is wrong.
    """
    path = store.blob_path(layer.digest)
    if not path.exists() or "sha256:" + file_digest(path) != layer.digest:
        return store.damaged_blob(layer.digest)
    return MachineError(
        f"the blob {layer.digest} is not the layer that the image says it is: {why}",
        code="bad-layer",
        remedy="do not use this image; build it, or get it from somewhere else",
    )


def blob_chunks(store: Store, digest: str) -> Iterator[bytes]:
    """A blob as stored.

    Raises:
        DamagedError: the blob is missing or damaged (noticed at its end).
    """
    hashed = hashlib.sha256()
    try:
        with store.blob_path(digest).open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                hashed.update(chunk)
                yield chunk
    except FileNotFoundError as error:
        raise store.damaged_blob(digest) from error
    if "sha256:" + hashed.hexdigest() != digest:
        raise store.damaged_blob(digest)


def layer_chunks(store: Store, layer: Layer | Packed) -> Iterator[bytes]:
    """A layer's uncompressed tar; never more than it should be, whatever the blob unfolds to.

    Raises:
        DamagedError: the blob is missing or damaged (noticed at its end at the latest).
        MachineError: it is another layer than the image says.
    """
    hashed = hashlib.sha256()
    size = 0
    try:
        with store.blob_path(layer.digest).open("rb") as stream:
            for chunk in codec.decode(layer.compression, stream):
                size += len(chunk)
                if layer.raw_size and size > layer.raw_size:
                    raise ValueError("it is larger than it should be")
                hashed.update(chunk)
                yield chunk
    except (FileNotFoundError, ValueError) as error:
        raise not_a_layer(store, layer, str(error)) from error
    if "sha256:" + hashed.hexdigest() != layer.diff_id:
        raise not_a_layer(store, layer, f"it is not {layer.diff_id}")


def uncompressed(image: Image, store: Store) -> Image:
    """The same image (same ID) with a manifest that names its layers uncompressed.

    Every engine takes such layers, also Docker 20.10, which knows no zstd. Their bytes come from
    :func:`layer_chunks`; only the manifest is stored.
    """
    layers = tuple(
        replace(layer, digest=layer.diff_id, size=layer.raw_size, compression="none")
        for layer in image.layers
    )
    config = json.loads(store.read_blob(image.config.digest))
    manifest = image_manifest(
        config, layers, config_digest=image.config.digest, config_size=image.config.size
    )
    return Image(image.platform, image.config, store.put_blob(canonical(manifest)), layers)
