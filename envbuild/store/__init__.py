"""Where bytes are kept: a content-addressed store and the records of what made what.

The cache directory (``$ENVBUILD_CACHE_DIR``)::

    store-v1/            an OCI image layout: oci-layout, index.json, blobs/sha256/<hex>
    artifacts-v1/<hex>   downloaded wheels and debs, by sha256
    actions-v2/<hex>     what a layer's inputs turned out to be: action key -> diff ID, digest, sizes
    images-v1/<hex>      the images that have names
    interpreters-v2/     unpacked Pythons of bases, to compile bytecode with
    trees-v2/            unpacked layers, for the bubblewrap engine
    debian-v2/           verified package indexes and the newest lock of each base
    sources-v2/          where the package index keeps its files, by the user's index settings
    uv-v1/               uv's own cache
    pip-v1/              that of pip and pip-tools
    conda-v1/            what conda channels have
    tools-v2/            unpacked tools (bubblewrap)
    checkouts-v2/        files of remote sources, by address and commit
    logs-v1/             what steps in the sandbox said
    sessions-v1/         what the last session of a repository installed, by repository
    places-v2/<hex>      which registries a blob was seen in
    metrics/             numbers about the runs with this cache (envbuild.metrics); pruning leaves them
    tmp/                 unfinished work; everything in it may be deleted when nothing runs
    locks/               advisory locks, only to avoid doing work twice

A bucket's number is raised whenever the meaning of what it holds changes; old buckets are never read.
"""

from envbuild.store.store import Blob, Store

__all__ = ["Blob", "Store"]
