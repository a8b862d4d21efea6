"""Layers as directories: what the bubblewrap engine mounts.

Every layer is unpacked once, whatever images it is part of. Overlay mounts take a page of options at most,
which is less than a hundred layers need, and every directory of an overlay is looked up in all of its layers;
so runs of :data:`LAYERS_PER_TREE` layers are merged into one directory by hard links, which cost no space.

::

    trees-v1/<hex of diff ID>                  one layer
    trees-v1/<hex of sha256 over diff IDs>     a run of layers, merged

A layer may remove what lower ones have (OCI image specification 1.1, layer.md). In a tree that is said the
way overlayfs says it, with ``userxattr``: a removed name is a character device 0/0, a directory that hides
what is below it has an extended attribute. Both can be made by any user. Where nothing is below, overlayfs
shows such a device to who lists the directory; so a layer that removes something is the lowest of its run.
"""

# Names in layers are bytes, which pathlib does not take.
# ruff: noqa: PTH101, PTH102, PTH108, PTH112, PTH114, PTH211

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tarfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import IO, cast

from envbuild.image.blobs import damaged, layer_chunks
from envbuild.image.finding import Bring, all_here
from envbuild.image.model import Image, Layer
from envbuild.progress import Reporter, Stage
from envbuild.store import Store
from envbuild.store.store import disk_errors

__all__ = ["LAYERS_PER_TREE", "is_opaque", "is_whiteout", "unpack"]

LAYERS_PER_TREE = 16
_COPY_BYTES = 1 << 20
_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_OPAQUE_ATTRIBUTE = b"user.overlay.opaque"
_TAR_BYTES = 1 << 15  # tarfile copies what is left of its buffer at every read


def unpack(image: Image, store: Store, reporter: Reporter, bring: Bring = all_here) -> tuple[Path, ...]:
    """The directories (bottom to top) that make up the root file system of ``image``.

    Everything in them belongs to the calling user: overlayfs in a user namespace cannot copy up files of
    users it does not know. Nothing is done for what is there already.

    Parameters:
        bring: gets the layers that have to be unpacked into the store.

    Raises:
        MachineError: a layer is damaged, or there is no space left.
        LayersLost, RemoteError: see :meth:`envbuild.image.finding.Layers.bring`.
    """
    trees = {_run_tree(store, run): run for run in _runs(image.layers)}
    if not all(tree.is_dir() for tree in trees):
        with store.lock("trees"), disk_errors(store.root):
            missing = {tree: run for tree, run in trees.items() if not tree.is_dir()}
            layers = [layer for run in missing.values() for layer in run]
            bring([layer for layer in layers if not _layer_tree(store, layer).is_dir()], reporter)
            with reporter.stage("unpack") as stage:
                _unpack_layers(layers, store, stage)
            for tree, run in missing.items():
                if not tree.is_dir():  # a run of one layer has no other tree than that layer's
                    _merge([_layer_tree(store, layer) for layer in run], tree, store)
    for tree in trees:
        os.utime(tree)  # tells `cache prune` that it is used
    return tuple(trees)


def is_whiteout(status: os.stat_result) -> bool:
    """Whether a file in a tree says that its name was removed."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(directory: bytes) -> bool:
    """Whether a directory of a tree hides what lower trees have in its place."""
    try:
        return os.getxattr(directory, _OPAQUE_ATTRIBUTE, follow_symlinks=False) == b"y"
    except OSError:  # it has no such attribute, or the file system has none at all
        return False


def _runs(layers: Sequence[Layer]) -> list[list[Layer]]:
    runs: list[list[Layer]] = []
    for layer in layers:
        if not runs or len(runs[-1]) == LAYERS_PER_TREE or layer.captured:
            runs.append([])
        runs[-1].append(layer)
    return runs


def _layer_tree(store: Store, layer: Layer) -> Path:
    return store.trees / layer.diff_id.removeprefix("sha256:")


def _run_tree(store: Store, run: Sequence[Layer]) -> Path:
    if len(run) == 1:
        return _layer_tree(store, run[0])
    return store.trees / hashlib.sha256("\n".join(layer.diff_id for layer in run).encode()).hexdigest()


def _unpack_layers(layers: Sequence[Layer], store: Store, stage: Stage) -> None:
    stage.add_total(sum(layer.raw_size for layer in layers))
    missing = []
    for layer in layers:
        if _layer_tree(store, layer).is_dir():
            stage.advance(layer.raw_size, cached=True)
        else:
            missing.append(layer)
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
    with store.temporary_directory() as temporary:
        tree = temporary / "tree"
        tree.mkdir(mode=0o755)
        stream = _Stream(layer_chunks(store, layer), stage, stopped)
        try:
            _extract(stream, os.fsencode(tree))
        except (ValueError, FileExistsError, tarfile.TarError) as error:
            raise damaged(store, layer.digest) from error
        while stream.read(_COPY_BYTES):
            pass  # the digest is checked when the end is reached
        _keep(tree, _layer_tree(store, layer))


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


def _extract(stream: _Stream, root: bytes) -> None:
    """Write the entries of a tar below ``root``, an empty directory.

    Layers are ours, but they may have passed through a registry: a path is only accepted below a directory
    that the same layer made before, so that neither ``..`` nor a symlink leads out.
    """
    directories = {b""}
    with tarfile.open(
        fileobj=cast(IO[bytes], stream),
        mode="r|",
        bufsize=_TAR_BYTES,
        encoding="utf-8",
        errors="surrogateescape",
    ) as archive:
        for member in archive:
            name = member.name.encode("utf-8", "surrogateescape")
            parent, _, last = name.rpartition(b"/")
            if name[:1] == b"/" or last in (b"", b".", b"..") or b"\0" in name or parent not in directories:
                raise ValueError(f"it holds the unsafe path {name!r}")
            path = root + b"/" + name
            if member.isdir():
                # The owner must be able to enter and to delete, whatever the mode is inside.
                os.mkdir(path, member.mode | 0o700)
                os.chmod(path, (member.mode | 0o700) & 0o1777)
                directories.add(name)
            elif member.issym():
                os.symlink(member.linkname.encode("utf-8", "surrogateescape"), path)
            elif member.isreg() and last == _OPAQUE:
                os.setxattr(root + b"/" + parent, _OPAQUE_ATTRIBUTE, b"y")
            elif member.isreg() and last.startswith(_WHITEOUT):
                _remove_below(root + b"/" + parent, last.removeprefix(_WHITEOUT))
            elif member.isreg():
                _write_file(archive, member, path)
            else:
                raise ValueError(f"it holds {name!r}, which is neither file, directory nor symlink")


def _remove_below(parent: bytes, name: bytes) -> None:
    if name in (b"", b".", b"..") or name.startswith(_WHITEOUT):
        raise ValueError(f"it removes {name!r}")
    os.mknod(parent + b"/" + name, stat.S_IFCHR, os.makedev(0, 0))


def _write_file(archive: tarfile.TarFile, member: tarfile.TarInfo, path: bytes) -> None:
    mode = (member.mode | 0o400) & 0o777
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        os.fchmod(handle, mode)
        content = archive.extractfile(member)
        while content is not None and (chunk := content.read(_COPY_BYTES)):
            view = memoryview(chunk)
            while view:
                view = view[os.write(handle, view) :]
    finally:
        os.close(handle)


def _merge(layers: list[Path], destination: Path, store: Store) -> None:
    """Make ``destination`` hold all of ``layers`` (bottom to top), their files by hard link."""
    with store.temporary_directory() as temporary:
        tree = temporary / "tree"
        tree.mkdir()
        for layer in layers:
            _link(os.fsencode(layer), os.fsencode(tree))
        _keep(tree, destination)


def _link(source: bytes, target: bytes) -> None:
    for entry in os.scandir(source):
        path = target + b"/" + entry.name
        if entry.is_dir(follow_symlinks=False):
            _link_directory(entry, path)
            continue
        try:
            os.link(entry.path, path, follow_symlinks=False)
        except FileExistsError:
            _remove(path)
            os.link(entry.path, path, follow_symlinks=False)


def _link_directory(source: os.DirEntry[bytes], path: bytes) -> None:
    opaque = is_opaque(source.path)
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        pass
    else:
        if stat.S_ISDIR(there.st_mode) and not opaque:
            _link(source.path, path)
            return
        opaque = opaque or not stat.S_ISDIR(there.st_mode)  # what was hidden stays so
        _remove(path)
    os.mkdir(path)
    os.chmod(path, source.stat(follow_symlinks=False).st_mode & 0o1777)
    if opaque:
        os.setxattr(path, _OPAQUE_ATTRIBUTE, b"y")
    _link(source.path, path)


def _remove(path: bytes) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _keep(tree: Path, destination: Path) -> None:
    """Move a finished ``tree`` into place; when another process was faster, its copy is as good."""
    try:
        tree.rename(destination)
    except OSError:
        if not destination.is_dir():
            raise
