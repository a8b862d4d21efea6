"""An image of a registry, handed on over loopback: who pulls it needs neither our credentials nor our TLS.

What containerd is told of a registry (a file, a command line) others on the machine can read, and it knows
neither credential helpers nor token servers of its own. So it asks here, under a name that nobody can guess,
and what it lacks is streamed from the registry, held to its digest on the way; nothing is kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

from envbuild.image.descriptor import Descriptor
from envbuild.inspection.medium import Medium
from envbuild.inspection.view import ImageView
from envbuild.registry.server import Content, Served, serving

__all__ = ["relay"]


def relay(
    medium: Medium, view: ImageView, *, sent: Callable[[int], None], jobs: int
) -> AbstractContextManager[Served]:
    """Serve ``view``, an image that ``medium`` has, on loopback while the block runs.

    Parameters:
        medium: has the documents of the image already, so that only layers are still asked for.
        sent: called with the number of bytes of every piece, from any thread.
        jobs: how many blobs are asked of the registry at once.
    """
    at_once = threading.BoundedSemaphore(jobs)

    def chunks(blob: Descriptor) -> Iterator[bytes]:
        with at_once:
            yield from medium.chunks(blob)

    def document(blob: Descriptor) -> Iterator[bytes]:
        yield medium.document(blob)

    top = medium.entries().top or view.manifest
    documents = {blob.digest: blob for blob in (top, view.manifest, view.config)}
    blobs: dict[str, Content] = {
        layer.digest: (layer.size, partial(chunks, layer.descriptor)) for layer in view.layers
    }
    blobs |= {digest: (blob.size, partial(document, blob)) for digest, blob in documents.items()}
    manifests = {blob.digest: blob.media_type for blob in (top, view.manifest)}
    return serving(Served(manifests, blobs, sent))
