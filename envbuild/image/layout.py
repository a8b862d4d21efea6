"""OCI image layouts, written for other tools.

Follows image-layout.md of the OCI image specification 1.1.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from envbuild.errors import UsageError
from envbuild.image.blobs import blob_chunks
from envbuild.image.config import INDEX_TYPE, MANIFEST_TYPE, canonical
from envbuild.image.model import Image
from envbuild.store import Blob, Store
from envbuild.store.disk import write_atomic
from envbuild.store.locks import wait_for
from envbuild.store.store import file_digest

__all__ = ["image_index", "write_layout"]

_REF = "org.opencontainers.image.ref.name"


def _descriptor(image: Image) -> dict[str, Any]:
    system, architecture = image.platform.split("/", 1)
    return {
        "digest": image.manifest.digest,
        "mediaType": MANIFEST_TYPE,
        "platform": {"architecture": architecture, "os": system},
        "size": image.manifest.size,
    }


def image_index(images: Sequence[Image], store: Store) -> Blob:
    """An index over the images of several platforms, kept in the store."""
    content = {
        "manifests": [_descriptor(image) for image in sorted(images, key=lambda image: image.platform)],
        "mediaType": INDEX_TYPE,
        "schemaVersion": 2,
    }
    return store.put_blob(canonical(content))


def _top(images: Sequence[Image], store: Store) -> dict[str, Any]:
    """The descriptor that stands for ``images``: a manifest's, or an index's when there are several."""
    if len(images) == 1:
        return _descriptor(images[0])
    index = image_index(images, store)
    return {"digest": index.digest, "mediaType": INDEX_TYPE, "size": index.size}


def _merge(existing: list[dict[str, Any]], descriptor: dict[str, Any], names: Iterable[str]) -> bytes:
    """``index.json`` with ``descriptor`` under ``names``; whatever had one of the names loses it."""
    wanted = sorted(set(names))
    kept = [old for old in existing if old.get("annotations", {}).get(_REF) not in wanted]
    added = [{**descriptor, "annotations": {_REF: name}} for name in wanted] or [descriptor]
    added = [new for new in added if new not in kept]
    entries = sorted(
        [*kept, *added], key=lambda entry: (entry.get("annotations", {}).get(_REF, ""), entry["digest"])
    )
    return canonical({"manifests": entries, "mediaType": INDEX_TYPE, "schemaVersion": 2})


def _manifests(index: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(index.read_bytes())
        return list(content["manifests"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []


def _blobs(images: Sequence[Image], store: Store) -> list[str]:
    digests = {image_index(images, store).digest} if len(images) > 1 else set()
    for image in images:
        digests |= {image.manifest.digest, image.config.digest}
        digests |= {layer.digest for layer in image.layers}
    return sorted(digests)


def write_layout(images: Sequence[Image], store: Store, directory: Path, names: Sequence[str] = ()) -> None:
    """Write ``images`` as an OCI layout in ``directory``, under ``names`` when there are any.

    A directory that is an OCI layout already gets the images added; a new one appears whole or not at all.

    Raises:
        UsageError: the directory has something else in it.
        MachineError: a blob is damaged.
    """
    if directory.exists() and not (directory / "oci-layout").is_file() and any(directory.iterdir()):
        raise UsageError(
            f"{directory} is not empty and not an OCI layout",
            code="output-not-empty",
            remedy="name a new directory",
        )
    descriptor = _top(images, store)
    if (directory / "oci-layout").is_file():
        _add(images, store, directory, descriptor, names)
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        unfinished.chmod(0o755)
        (unfinished / "blobs" / "sha256").mkdir(parents=True)
        (unfinished / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')
        _add(images, store, unfinished, descriptor, names)
        try:
            unfinished.rename(directory)  # takes the place of an empty directory, too
        except OSError:
            if not (directory / "oci-layout").is_file():
                raise
            _add(images, store, directory, descriptor, names)  # somebody was faster
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _add(
    images: Sequence[Image], store: Store, directory: Path, descriptor: dict[str, Any], names: Sequence[str]
) -> None:
    for digest in _blobs(images, store):
        target = directory / "blobs" / "sha256" / digest.removeprefix("sha256:")
        if target.exists() and file_digest(target) == target.name:
            continue
        _copy(store, digest, target)
    index = directory / "index.json"
    lock = os.open(directory / "oci-layout", os.O_RDONLY | os.O_CLOEXEC)
    try:
        wait_for(lock)  # others may add their names at the same time
        write_atomic(index, _merge(_manifests(index), descriptor, names))
    finally:
        os.close(lock)


def _copy(store: Store, digest: str, target: Path) -> None:
    """Write a blob; not a link, because whoever edits the layout must not reach into the cache."""
    handle, name = tempfile.mkstemp(prefix=".", dir=target.parent)
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            for chunk in blob_chunks(store, digest):
                stream.write(chunk)
        unfinished.chmod(0o644)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
