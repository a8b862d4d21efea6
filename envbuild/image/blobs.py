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

__all__ = ["blob_chunks", "damaged", "layer_chunks", "uncompressed"]

_CHUNK = 1 << 20


def damaged(store: Store, digest: str) -> MachineError:
    """The error for a blob that is not what its name says; the blob is dropped, so a rebuild mends it."""
    store.blob_path(digest).unlink(missing_ok=True)
    return MachineError(
        f"the blob {digest} in the cache was damaged and has been removed",
        code="damaged-blob",
        remedy="run the same command again: the layer will be rebuilt",
    )


def blob_chunks(store: Store, digest: str) -> Iterator[bytes]:
    """A blob as stored.

    Raises:
        MachineError: the blob is missing or damaged (noticed at its end).
    """
    hashed = hashlib.sha256()
    try:
        with store.blob_path(digest).open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                hashed.update(chunk)
                yield chunk
    except FileNotFoundError as error:
        raise damaged(store, digest) from error
    if "sha256:" + hashed.hexdigest() != digest:
        raise damaged(store, digest)


def layer_chunks(store: Store, layer: Layer | Packed) -> Iterator[bytes]:
    """A layer's uncompressed tar; never more than it should be, whatever the blob unfolds to.

    Raises:
        MachineError: the blob is missing or damaged (noticed at its end at the latest).
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
        raise damaged(store, layer.digest) from error
    if "sha256:" + hashed.hexdigest() != layer.diff_id:
        raise damaged(store, layer.digest)


def uncompressed(image: Image, store: Store) -> Image:
    """The same image (same ID) with a manifest that names its layers uncompressed.

    Every engine takes such layers, also Docker 20.10, which knows no zstd. Their bytes come from
    :func:`layer_chunks`; only the manifest is stored.
    """
    layers = tuple(
        replace(layer, digest=layer.diff_id, size=layer.raw_size, compression="none")
        for layer in image.layers
    )
    config = json.loads(store.blob_path(image.config.digest).read_bytes())
    manifest = image_manifest(
        config, layers, config_digest=image.config.digest, config_size=image.config.size
    )
    return Image(image.platform, image.config, store.put_blob(canonical(manifest)), layers)
