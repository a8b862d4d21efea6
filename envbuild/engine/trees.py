"""Layers as directories: what the bubblewrap engine mounts.

Every layer is unpacked once, whatever images it is part of. Overlay mounts take a page of options at most,
which is less than a hundred layers need, and every directory of an overlay is looked up in all of its layers;
so runs of :data:`LAYERS_PER_TREE` layers are merged into one directory by hard links, which cost no space.

::

    trees-v2/<hex of diff ID>-<user>                  one layer
    trees-v2/<hex of sha256 over diff IDs>-<user>     a run of layers, merged, or a whole image

How they are kept, and checked, is in :mod:`envbuild.store.directory`.

A layer may remove what lower ones have (OCI image specification 1.1, layer.md). In a tree that is said the
way overlayfs says it, with ``userxattr``: a removed name is a character device 0/0, a directory that hides
what is below it has an extended attribute. Both can be made by any user. Where nothing is below, overlayfs
shows such a device to who lists the directory; so a layer that removes something is the lowest of its run.

The layers of the registry's image that a base is are at the bottom, and may do more than ours: they are one
tree (:mod:`envbuild.engine.flatten`).
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

from envbuild.engine.extraction import extract
from envbuild.engine.flatten import apply_layers
from envbuild.engine.merging import is_opaque, merge
from envbuild.engine.tar_stream import TarStream
from envbuild.image.blobs import layer_chunks, not_a_layer
from envbuild.image.finding import Bring, all_here
from envbuild.image.model import Image, Layer
from envbuild.progress import Reporter, Stage
from envbuild.source.text import printable
from envbuild.store import Store
from envbuild.store.directory import (
    checked_directory,
    difference,
    has_directory,
    keep_directory,
    listed_files,
    make_directory,
)
from envbuild.store.disk import disk_errors, touch

__all__ = ["LAYERS_PER_TREE", "is_opaque", "is_whiteout", "unpack", "unpack_foreign"]

LAYERS_PER_TREE = 16


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
            foreign = [run for run in missing if run[0].foreign]
            missing = [run for run in missing if not run[0].foreign]
            layers = {_layer_place(store, layer): layer for run in missing for layer in run}
            lacking = [layers[place] for place in _lacking(layers, store, check=check)]
            bring([*lacking, *(layer for run in foreign for layer in run)], reporter)
            with reporter.stage("unpack") as stage:
                for run in foreign:
                    _flatten(run, store, stage)
                stage.add_total(sum(layer.raw_size for layer in layers.values()))
                stage.advance(sum(one.raw_size for one in layers.values() if one not in lacking), cached=True)
                _unpack_layers(lacking, store, stage)
            for run in missing:
                if len(run) > 1:  # a run of one layer has no other tree than that layer's
                    _merge(run, store)
    for place in places:
        touch(place)  # tells `cache prune` that it is used
    return tuple(place / "tree" for place in places)


def unpack_foreign(layers: Sequence[Layer], store: Store, reporter: Reporter) -> tuple[Path, list[int]]:
    """The directory with the files of a registry's image, and the sizes of its layers' tars in bytes.

    Parameters:
        layers: bottom to top, in the store.

    Raises:
        RepoError, MachineError: see :func:`envbuild.engine.flatten.apply_layers`.
    """
    place = _run_place(store, layers)
    about = checked_directory(store, place)
    if about is None:
        with store.lock("trees"), disk_errors(store.root):
            about = checked_directory(store, place)
            if about is None:
                with reporter.stage("unpack") as stage:
                    about = _flatten(layers, store, stage)
    return place / "tree", [int(size) for size in about["sizes"]]


def is_whiteout(status: os.stat_result) -> bool:
    """Whether a file in a tree says that its name was removed."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _runs(layers: Sequence[Layer]) -> list[list[Layer]]:
    runs: list[list[Layer]] = []
    for layer in layers:
        foreign = bool(runs) and runs[-1][-1].foreign
        full = bool(runs) and len(runs[-1]) == LAYERS_PER_TREE and not foreign
        if not runs or full or layer.captured or foreign != layer.foreign:
            runs.append([])
        runs[-1].append(layer)
    return runs


def _layer_place(store: Store, layer: Layer) -> Path:
    return _place(store, layer.diff_id.removeprefix("sha256:"))


def _run_place(store: Store, run: Sequence[Layer]) -> Path:
    if len(run) == 1 and not run[0].foreign:
        return _layer_place(store, run[0])
    # The same layer is unpacked by other rules when it is a stranger's.
    names = [*(["foreign"] if run[0].foreign else ()), *(layer.diff_id for layer in run)]
    return _place(store, hashlib.sha256("\n".join(names).encode()).hexdigest())


def _place(store: Store, name: str) -> Path:
    return store.trees / f"{name}-{os.geteuid()}"


def _lacking(places: Iterable[Path], store: Store, *, check: bool) -> list[Path]:
    """Those of ``places`` where no whole tree is; with ``check``, no undamaged one."""
    if not check:
        return [place for place in places if not has_directory(store, place)]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        found = list(pool.map(partial(checked_directory, store), places))
    return [place for place, about in zip(places, found, strict=True) if about is None]


def _flatten(run: Sequence[Layer], store: Store, stage: Stage) -> dict[str, Any]:
    """Keep the layers of a registry's image as one tree; returns what is known about it."""

    def make(tree: Path) -> dict[str, Any]:
        sizes = apply_layers(run, tree, store=store, stage=stage, stopped=threading.Event())
        return {"layers": [layer.diff_id for layer in run], "sizes": sizes}

    stage.add_total(sum(layer.raw_size for layer in run))
    stage.detail(run[0].title)
    return make_directory(store, _run_place(store, run), make)


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
        stream = TarStream(layer_chunks(store, layer), stage, stopped)
        try:
            files = extract(stream, os.fsencode(tree))
        except FileExistsError as error:
            name = printable(os.path.relpath(os.fsencode(error.filename), os.fsencode(tree)))
            raise store.case_collision(name) or not_a_layer(store, layer, str(error)) from error
        except (ValueError, RecursionError, tarfile.TarError) as error:
            raise not_a_layer(store, layer, str(error)) from error
        stream.finish()
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
