"""Layers as directories: what the bubblewrap engine mounts.

Every layer is unpacked once, whatever images it is part of. Overlay mounts take a page of options at most,
which is less than a hundred layers need, and every directory of an overlay is looked up in all of its layers;
so runs of :data:`LAYERS_PER_TREE` layers are merged into one directory by hard links, which cost no space.

::

    trees-v2/<hex of diff ID>-<user>                  one layer
    trees-v2/<hex of sha256 over diff IDs>-<user>     a run of layers, merged

How they are kept, and checked, is in :mod:`envbuild.store.directory`.

A layer may remove what lower ones have (OCI image specification 1.1, layer.md). In a tree that is said the
way overlayfs says it, with ``userxattr``: a removed name is a character device 0/0, a directory that hides
what is below it has an extended attribute. Both can be made by any user. Where nothing is below, overlayfs
shows such a device to who lists the directory; so a layer that removes something is the lowest of its run.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from envbuild.engine.extraction import extract
from envbuild.engine.merging import is_opaque, merge
from envbuild.image.blobs import layer_chunks, not_a_layer
from envbuild.image.finding import Bring, all_here
from envbuild.image.model import Image, Layer
from envbuild.progress import Reporter, Stage
from envbuild.store import Store
from envbuild.store.directory import (
    checked_directory,
    difference,
    has_directory,
    keep_directory,
    listed_files,
)
from envbuild.store.disk import disk_errors, touch

__all__ = ["LAYERS_PER_TREE", "is_opaque", "is_whiteout", "unpack"]

LAYERS_PER_TREE = 16
_CHUNK = 1 << 20


def unpack(
    image: Image, store: Store, reporter: Reporter, bring: Bring = all_here, *, check: bool = False
) -> tuple[Path, ...]:
    """The directories (bottom to top) that make up the root file system of ``image``.

    Everything in them belongs to the calling user: overlayfs in a user namespace cannot copy up files of
    users it does not know. Nothing is done for what is there already.

    Parameters:
        bring: gets the layers that have to be unpacked into the store.
        check: read what is there already, and unpack it anew if it is not as it was; for what will be in an
            image.

    Raises:
        MachineError: a layer is damaged, or there is no space left.
        LayersLost, RemoteError: see :meth:`envbuild.image.finding.Layers.bring`.
    """
    places = {_run_place(store, run): run for run in _runs(image.layers)}
    if _lacking(places, store, check=check):
        with store.lock("trees"), disk_errors(store.root):
            missing = [places[place] for place in _lacking(places, store, check=check)]
            layers = {_layer_place(store, layer): layer for run in missing for layer in run}
            lacking = [layers[place] for place in _lacking(layers, store, check=check)]
            bring(lacking, reporter)
            with reporter.stage("unpack") as stage:
                stage.add_total(sum(layer.raw_size for layer in layers.values()))
                stage.advance(sum(one.raw_size for one in layers.values() if one not in lacking), cached=True)
                _unpack_layers(lacking, store, stage)
            for run in missing:
                if len(run) > 1:  # a run of one layer has no other tree than that layer's
                    _merge(run, store)
    for place in places:
        touch(place)  # tells `cache prune` that it is used
    return tuple(place / "tree" for place in places)


def is_whiteout(status: os.stat_result) -> bool:
    """Whether a file in a tree says that its name was removed."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _runs(layers: Sequence[Layer]) -> list[list[Layer]]:
    runs: list[list[Layer]] = []
    for layer in layers:
        if not runs or len(runs[-1]) == LAYERS_PER_TREE or layer.captured:
            runs.append([])
        runs[-1].append(layer)
    return runs


def _layer_place(store: Store, layer: Layer) -> Path:
    return _place(store, layer.diff_id.removeprefix("sha256:"))


def _run_place(store: Store, run: Sequence[Layer]) -> Path:
    if len(run) == 1:
        return _layer_place(store, run[0])
    return _place(store, hashlib.sha256("\n".join(layer.diff_id for layer in run).encode()).hexdigest())


def _place(store: Store, name: str) -> Path:
    return store.trees / f"{name}-{os.geteuid()}"


def _lacking(places: Iterable[Path], store: Store, *, check: bool) -> list[Path]:
    """Those of ``places`` where no whole tree is; with ``check``, no undamaged one."""
    if not check:
        return [place for place in places if not has_directory(store, place)]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        found = list(pool.map(partial(checked_directory, store), places))
    return [place for place, about in zip(places, found, strict=True) if about is None]


def _unpack_layers(missing: Sequence[Layer], store: Store, stage: Stage) -> None:
    stopped = threading.Event()
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        running = [pool.submit(_unpack_layer, layer, store, stage, stopped) for layer in missing]
        try:
            for future in as_completed(running):
                future.result()
        except BaseException:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise


def _unpack_layer(layer: Layer, store: Store, stage: Stage, stopped: threading.Event) -> None:
    stage.detail(layer.title)
    with store.temporary_directory() as scratch:
        tree = scratch / "tree"
        tree.mkdir(mode=0o755)
        stream = _Stream(layer_chunks(store, layer), stage, stopped)
        try:
            files = extract(stream, os.fsencode(tree))
        except (ValueError, FileExistsError, tarfile.TarError) as error:
            raise not_a_layer(store, layer, str(error)) from error
        while stream.read(_CHUNK):
            pass  # the digest is checked when the end is reached
        keep_directory(store, _layer_place(store, layer), scratch, files, {"layers": [layer.diff_id]})


def _merge(run: Sequence[Layer], store: Store) -> None:
    """Keep all of ``run`` as one tree, its files by hard link."""
    layers = []
    for layer in run:
        place = _layer_place(store, layer)
        files = listed_files(place)
        if files is None:
            raise store.damaged(place, f"{place.parent.name}/{place.name}")
        layers.append((place / "tree", files))
    with store.temporary_directory() as scratch:
        tree = scratch / "tree"
        tree.mkdir(mode=0o755)
        try:
            files = merge(layers, tree)
        except FileNotFoundError as error:
            for layer in run:
                place = _layer_place(store, layer)
                if difference(place, {}) is not None:
                    raise store.damaged(place, f"{place.parent.name}/{place.name}") from error
            raise
        keep_directory(
            store, _run_place(store, run), scratch, files, {"layers": [one.diff_id for one in run]}
        )


class _Stream:
    """The file that :mod:`tarfile` reads a layer from; tells ``stage`` about the bytes that pass."""

    def __init__(self, chunks: Iterator[bytes], stage: Stage, stopped: threading.Event) -> None:
        self._chunks = chunks
        self._stage = stage
        self._stopped = stopped
        self._chunk = b""
        self._read = 0  # bytes of the chunk

    def read(self, size: int) -> bytes:
        """Between 1 and ``size`` bytes, none at the end."""
        if self._read == len(self._chunk):
            if self._stopped.is_set():
                raise CancelledError
            self._chunk = next((chunk for chunk in self._chunks if chunk), b"")
            self._read = 0
            self._stage.advance(len(self._chunk))
        data = self._chunk[self._read : self._read + size]
        self._read += len(data)
        return data
