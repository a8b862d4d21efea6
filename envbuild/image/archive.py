"""One tar file that every engine loads: an OCI layout with Docker's ``manifest.json`` beside it.

Docker before 25 needs ``manifest.json``; Docker before 23 knows no zstd, so layers that are stored as zstd
go in uncompressed. The image ID is the same in every form.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from envbuild.image.blobs import blob_chunks, layer_chunks, uncompressed
from envbuild.image.config import INDEX_TYPE, MANIFEST_TYPE, canonical
from envbuild.image.model import Image
from envbuild.image.reference import parse_reference
from envbuild.pack.tar import Entry, Sink, complete, file, write_tar
from envbuild.store import Store

__all__ = ["write_archive"]


def write_archive(image: Image, store: Store, sink: Sink, tags: Sequence[str] = ()) -> None:
    """Write ``image`` as a hybrid archive.

    Parameters:
        tags: full references (``name:tag``) the engine gives the image on loading.

    Raises:
        MachineError: a blob is damaged; what was written must be thrown away.
    """
    plain = image
    if any(layer.compression == "zstd" for layer in image.layers):
        plain = uncompressed(image, store)
    entries: dict[str, Entry] = {}
    for stored, layer in zip(image.layers, plain.layers, strict=True):
        place = _blob(layer.digest)
        if stored.digest == layer.digest:
            content = functools.partial(blob_chunks, store, layer.digest)
        else:
            content = functools.partial(layer_chunks, store, stored)
        entries[place] = file(place, content, size=layer.size)
    for blob in (plain.config, plain.manifest):
        entries[_blob(blob.digest)] = file(
            _blob(blob.digest), functools.partial(blob_chunks, store, blob.digest), size=blob.size
        )
    system, architecture = image.platform.split("/", 1)
    descriptor = {
        "digest": plain.manifest.digest,
        "mediaType": MANIFEST_TYPE,
        "platform": {"architecture": architecture, "os": system},
        "size": plain.manifest.size,
    }
    names = sorted(set(tags))
    index = {
        "manifests": [
            {
                **descriptor,
                "annotations": {
                    "io.containerd.image.name": str(parse_reference(name)),
                    "org.opencontainers.image.ref.name": name.rpartition(":")[2],
                },
            }
            for name in names
        ]
        or [descriptor],
        "mediaType": INDEX_TYPE,
        "schemaVersion": 2,
    }
    docker = [
        {
            "Config": _blob(plain.config.digest),
            "Layers": [_blob(layer.digest) for layer in plain.layers],
            "RepoTags": names,
        }
    ]
    write_tar(
        complete(
            [
                *entries.values(),
                file("index.json", canonical(index)),
                file("manifest.json", canonical(docker)),
                file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
            ]
        ),
        sink,
    )


def _blob(digest: str) -> str:
    return "blobs/sha256/" + digest.removeprefix("sha256:")
