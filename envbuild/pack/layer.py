"""From a layer's plan and its artifacts to a blob in the store."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path

from envbuild.base.recipe import recipe_named
from envbuild.errors import EnvbuildError, MachineError, RepoError
from envbuild.pack.blob import Packed, pack_entries
from envbuild.pack.bytecode import Compiler
from envbuild.pack.glue import glue_entries
from envbuild.pack.rootfs import os_entries
from envbuild.pack.tar import Entry, complete
from envbuild.pack.wheel import Prefix, wheel_entries
from envbuild.plan import GlueLayer, LayerPlan, OsLayer, WheelLayer
from envbuild.store import Store

__all__ = ["pack_layer"]


def pack_layer(
    layer: LayerPlan, files: dict[str, Path], *, store: Store, compression: str, compiler: Compiler | None
) -> Packed:
    """Pack one planned layer and remember it under its key.

    Parameters:
        files: sha256 to path of every artifact of the layer.
        compiler: the base's interpreter; only the glue layer does without.

    Raises:
        RepoError: a package is damaged or unsafe, or two cannot be together.
        MachineError: an artifact in the cache was damaged; it is removed.
    """
    try:
        packed = _pack(layer, files, store, compression, compiler)
    except EnvbuildError as error:
        _refuse_damaged(files, error)
        raise
    store.put_action(layer.key, {"diff_id": packed.diff_id, "raw_size": packed.raw_size})
    return packed


def _refuse_damaged(files: dict[str, Path], cause: EnvbuildError) -> None:
    """Blame the cache rather than the package when an artifact is no longer what was downloaded."""
    for sha256, path in sorted(files.items()):
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() == sha256:
                continue
        path.unlink()
        raise MachineError(
            f"the downloaded file {sha256} in the cache was damaged and has been removed",
            code="damaged-artifact",
            remedy="run the same command again: it will be fetched anew",
        ) from cause


def _pack(
    layer: LayerPlan, files: dict[str, Path], store: Store, compression: str, compiler: Compiler | None
) -> Packed:
    with ExitStack() as stack:
        if isinstance(layer, GlueLayer):
            entries = glue_entries(
                name=layer.name,
                display_name=layer.display_name,
                python=layer.python,
                kernels=layer.kernels,
                lock=layer.lock,
                own_server=layer.own_server,
            )
        elif isinstance(layer, OsLayer):
            entries = _os_layer(layer, files, store, compiler, stack)
        else:
            entries = _wheel_layer(layer, files, store, compiler, stack)
        try:
            entries = complete(entries)
        except ValueError as error:
            raise RepoError(
                f"packages of the layer `{layer.title}` contradict each other: {error}",
                code="packages-conflict",
                remedy="one of them is broken: leave it out, or lock another version of it",
                detail=" ".join(layer.packages),
            ) from error
        return pack_entries(store, entries, compression)


def _os_layer(
    layer: OsLayer, files: dict[str, Path], store: Store, compiler: Compiler | None, stack: ExitStack
) -> list[Entry]:
    assert compiler is not None
    scratch = stack.enter_context(store.temporary_directory())
    debs = [(deb, files[deb.artifact.sha256]) for deb in layer.debs]
    return os_entries(
        debs,
        recipe_named(layer.recipe),
        arch=layer.platform.removeprefix("linux/"),
        compile=lambda sources: compiler.compile_sources(sources, scratch),
    )


def _wheel_layer(
    layer: WheelLayer, files: dict[str, Path], store: Store, compiler: Compiler | None, stack: ExitStack
) -> list[Entry]:
    assert compiler is not None
    prefix = Prefix(layer.prefix, layer.python)
    merged: dict[bytes, Entry] = {}
    for wheel in layer.wheels:
        spool = stack.enter_context(store.temporary_file())
        path = files[wheel.artifact.sha256]
        for entry in wheel_entries(path, wheel.artifact.filename, prefix, compiler, spool, stack):
            # Two packages that ship the same file (a stray top-level `tests`): as with any installer, the
            # later one wins, and here "later" is by name.
            merged[entry.path] = entry
    return list(merged.values())
