"""What is in an image: its lock and its kernels, from the one small layer that has them.

The layer that belongs to no package (:mod:`envbuild.pack.glue`) has the lock and the kernelspecs. It is a few
kilobytes and the only layer that is fetched.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from envbuild.errors import RepoError
from envbuild.image.streams import as_file
from envbuild.inspection.medium import Medium
from envbuild.inspection.view import ImageView, LayerView
from envbuild.layers import GLUE_TITLE
from envbuild.lock.lockfile import load_lock
from envbuild.lock.model import Lock
from envbuild.pack import codec, recipe
from envbuild.pack.glue import LOCK_PATH

__all__ = ["Inside", "KernelSpec", "read_inside"]

_LARGEST_LAYER = 64 << 20  # as stored; a lock compresses well
_LARGEST_TAR = 256 << 20
_LARGEST_LOCK = 64 << 20
_LARGEST_KERNEL = 64 << 10
_MOST_KERNELS = 1000
_KERNELS = f"{recipe.ENV_PREFIX}/share/jupyter/kernels/"


@dataclass(frozen=True, slots=True, order=True)
class KernelSpec:
    """A kernelspec: its name, what people see, and the language."""

    name: str
    display_name: str
    language: str


@dataclass(frozen=True, slots=True)
class Inside:
    """What was found in an image.

    ``lock`` and ``lock_bytes`` are None when there is none that can be used; ``trouble`` then says why, and
    also when the lock is not the one that the image's label names.
    """

    lock_bytes: bytes | None = None
    lock: Lock | None = None
    kernels: tuple[KernelSpec, ...] = ()
    trouble: str | None = None

    @property
    def lock_digest(self) -> str | None:
        """The digest of the lock's bytes."""
        return None if self.lock_bytes is None else "sha256:" + hashlib.sha256(self.lock_bytes).hexdigest()


def read_inside(medium: Medium, image: ImageView) -> Inside:
    """What is in ``image``.

    Raises:
        EnvbuildError: the layer cannot be fetched or is damaged; which error depends on the medium.
    """
    glue = [layer for layer in image.layers if layer.ours and layer.title == GLUE_TITLE]
    if len(glue) != 1:
        return Inside(trouble="the image does not tell which layer would have its lock")
    layer = glue[0]
    if layer.size > _LARGEST_LAYER or layer.compression is None:
        return Inside(trouble="the layer that would have its lock cannot be read")
    try:
        data, kernels = _read(medium, layer)
    except (ValueError, EOFError, tarfile.TarError) as error:
        raise medium.broken(f"the layer `{layer.title}` is damaged ({error})") from error
    if data is None:
        return Inside(kernels=kernels, trouble=f"there is no /{LOCK_PATH} in it")
    try:
        lock = load_lock(data, f"/{LOCK_PATH}")
    except RepoError as error:
        return Inside(data, None, kernels, f"its lock cannot be used: {error.message}")
    inside = Inside(data, lock, kernels)
    if inside.lock_digest != image.lock_digest:
        return Inside(data, lock, kernels, "its lock is not the one that its label names")
    return inside


def _read(medium: Medium, layer: LayerView) -> tuple[bytes | None, tuple[KernelSpec, ...]]:
    lock: bytes | None = None
    kernels: list[KernelSpec] = []
    compressed = as_file(medium.chunks(layer.descriptor))
    tar = as_file(_limited(codec.decode(layer.compression or "none", compressed)))
    with tarfile.open(fileobj=tar, mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            if not member.isreg():
                continue
            content = archive.extractfile(member)
            if content is None:
                continue
            if member.name == LOCK_PATH and member.size <= _LARGEST_LOCK:
                lock = content.read()
            name, _, file = member.name.removeprefix(_KERNELS).partition("/")
            is_kernel = member.name.startswith(_KERNELS) and file == "kernel.json"
            if is_kernel and member.size <= _LARGEST_KERNEL and len(kernels) < _MOST_KERNELS:
                kernels.append(_kernel(name, content.read()))
    while compressed.read(1 << 20):  # to the end, where the digest is checked
        pass
    return lock, tuple(sorted(kernels))


def _limited(chunks: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > _LARGEST_TAR:
            raise ValueError("it unpacks to too much")
        yield chunk


def _kernel(name: str, data: bytes) -> KernelSpec:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    said = content if isinstance(content, dict) else {}
    return KernelSpec(name, str(said.get("display_name", "")), str(said.get("language", "")))
