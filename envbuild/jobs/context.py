"""A directory of the user's on its way to a pod: an artifact in the registry that the image will be in.

::

    REPOSITORY:context-<hex>   an artifact manifest whose one layer is a tar of the files below srv/repo

The tar is the same for the same files, and hex is of its digest: uploading twice sends nothing, and what is
built twice is known to be the same. It has what goes into the image, what the image is made from though it
does not go in, and, where git tracks files, an index that says which: then the same rules leave out the same
files.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote as percent_encode
from urllib.parse import unquote

from envbuild.errors import RemoteError, RepoError, UsageError
from envbuild.image.blobs import blob_chunks
from envbuild.image.config import MANIFEST_TYPE, canonical
from envbuild.image.descriptor import EMPTY, EMPTY_DATA
from envbuild.image.reference import Reference, parse_reference
from envbuild.lock.lockfile import FILENAME
from envbuild.pack.tar import complete, file, write_tar
from envbuild.pack.tree import repo_entries
from envbuild.progress import Reporter
from envbuild.registry.cache import descriptors
from envbuild.registry.referrers import put_bytes
from envbuild.registry.registries import Registries
from envbuild.source.archive import unpack
from envbuild.source.git_index import tracked_files
from envbuild.source.repo import Repo, RepoFile
from envbuild.source.selection import select
from envbuild.source.text import quote
from envbuild.spec.model import Spec
from envbuild.store import Blob, Store
from envbuild.store.directory import checked_directory, make_directory
from envbuild.store.disk import disk_errors

__all__ = ["Context", "fetch_context", "pack_context", "push_context"]

CONTEXT_TYPE: Final = "application/vnd.envbuild.context.v1"
_TAR_TYPE: Final = "application/vnd.envbuild.context.v1.tar"
_MOST_BYTES: Final = 4 << 30
_MOST_MANIFEST: Final = 1 << 20
_SOURCE = re.compile(r"context://([^@#\s]+@sha256:[0-9a-f]{64})#([^#\s]{1,600})")


@dataclass(frozen=True, slots=True)
class Context:
    """A packed directory in the store: its ``tar``, and how many ``files`` are in it."""

    tar: Blob
    files: int


def pack_context(repo: Repo, spec: Spec, lock: bytes, store: Store) -> Context:
    """Pack what an image of ``repo`` is made from.

    Parameters:
        lock: what envbuild.lock is to say, whether or not the directory could take it.

    Raises:
        RepoError: a file cannot be packed, or it is too much.
    """
    files = _chosen(repo, spec)
    size = sum(one.size for one in files)
    if size > _MOST_BYTES:
        raise RepoError(
            f"{size / 1e9:.1f} GB are too much to be uploaded for a build",
            code="context-too-large",
            remedy="leave large files out with the setting `exclude`, or build the repository's git address",
        )
    entries = repo_entries(repo, [one for one in files if one.path != FILENAME.encode()])
    entries.append(file(f"srv/repo/{FILENAME}", lock))
    tracked = tracked_files(repo)
    if tracked is not None:
        entries.append(file("srv/repo/.git/index", _index(tracked.intersection(one.path for one in files))))
    with disk_errors(store.root), store.blob_writer() as stream:
        write_tar(complete(entries), stream)
    return Context(Blob(stream.digest, stream.size), sum(one.kind == "file" for one in files))


def _chosen(repo: Repo, spec: Spec) -> Sequence[RepoFile]:
    """What goes into the image, and what decides about it."""
    taken = {one.path: one for one in select(repo).files}
    needed = {use.path for use in spec.files if use.used} | {notebook.path for notebook in spec.notebooks}
    projects = tuple(
        b"" if one.location == "." else os.fsencode(one.location) + b"/"
        for one in spec.sources
        if one.kind == "path"
    )
    for one in repo.files():
        below = any(one.path.startswith(place) for place in projects)
        if one.kind == "file" and (one.name in needed or (below and one.path not in taken)):
            taken[one.path] = one
    return sorted(taken.values(), key=lambda one: one.path.split(b"/"))


def _index(paths: Iterable[bytes]) -> bytes:
    """A git index of version 2 (gitformat-index(5)) that tracks ``paths``, and knows nothing else of them."""
    entries = []
    for path in sorted(paths):
        entry = bytes(60) + min(len(path), 0xFFF).to_bytes(2, "big") + path
        entries.append(entry + bytes(8 - len(entry) % 8))
    data = b"DIRC" + (2).to_bytes(4, "big") + len(entries).to_bytes(4, "big") + b"".join(entries)
    return data + hashlib.sha1(data, usedforsecurity=False).digest()


def push_context(
    context: Context,
    name: str,
    target: Reference,
    *,
    store: Store,
    registries: Registries,
    reporter: Reporter,
) -> str:
    """Have ``context`` in the repository of ``target``; returns the SOURCE that a pod builds.

    Parameters:
        name: the directory's, which kernels are called after.

    Raises:
        RemoteError: the registry failed or refused.
    """
    repository = registries.repository(target)
    tar = context.tar
    manifest = canonical(
        {
            "artifactType": CONTEXT_TYPE,
            "config": EMPTY.to_json(),
            "layers": [{"digest": tar.digest, "mediaType": _TAR_TYPE, "size": tar.size}],
            "mediaType": MANIFEST_TYPE,
            "schemaVersion": 2,
        }
    )
    digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
    with reporter.stage("upload") as stage:
        stage.add_total(tar.size)
        if repository.head_manifest(digest) is None:
            put_bytes(repository, EMPTY_DATA)
            content = partial(blob_chunks, store, tar.digest)
            outcome = repository.upload_blob(tar.digest, tar.size, content, sent=stage.advance)
            if outcome != "uploaded":
                stage.advance(tar.size, cached=True)
            # A tag, so that a registry which collects what has none does not collect it during the build.
            repository.put_manifest(manifest, MANIFEST_TYPE, f"context-{tar.digest[7:39]}")
        else:
            stage.advance(tar.size, cached=True)
    return f"context://{target.with_digest(digest)}#{percent_encode(name, safe='')}"


def fetch_context(source: str, *, store: Store, registries: Registries, reporter: Reporter) -> Repo:
    """The directory that was uploaded as ``source``, which :func:`push_context` gave.

    Raises:
        UsageError: it is no such address.
        RemoteError: it is not there, or is none.
        RepoError: what is in it cannot be made into files.
    """
    match = _SOURCE.fullmatch(source)
    directory = unquote(match[2]) if match is not None else ""
    if match is None or directory in (".", "..") or "/" in directory or "\0" in directory:
        raise UsageError(
            f"{quote(source)} is not the address of an uploaded directory",
            code="bad-source",
            remedy="give a directory, and let `--on kubernetes` upload it",
        )
    reference = parse_reference(match[1])
    repository = registries.repository(reference)
    with reporter.stage("source") as stage:
        stage.detail(str(reference))
        manifest = repository.manifest(reference.version)
        layers = descriptors(manifest, "layers") if manifest and len(manifest.data) < _MOST_MANIFEST else []
        if len(layers) != 1 or layers[0].media_type != _TAR_TYPE or layers[0].size > 2 * _MOST_BYTES:
            raise RemoteError(
                f"{reference} is not an uploaded directory",
                code="context-missing",
                remedy="submit the build again: the registry may have removed what was uploaded for it",
            )
        tar = layers[0]
        place = store.checkouts / hashlib.sha256(f"context {tar.digest} {directory}".encode()).hexdigest()

        def make(tree: Path) -> None:
            stage.add_total(tar.size)
            repository.fetch_blob(tar.digest, tar.size, store, stage)
            with store.temporary_directory() as scratch:
                top = unpack(store.blob_path(tar.digest), scratch, name=str(reference))
                (top / "repo").rename(tree / directory)

        with store.lock(f"checkout-{place.name}"):
            if checked_directory(store, place) is None:
                make_directory(store, place, make)
    return Repo((place / "tree" / directory).resolve())
