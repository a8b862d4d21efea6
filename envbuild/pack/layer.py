"""From a layer's plan and its artifacts to a blob in the store."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from envbuild.base.recipe import recipe_named
from envbuild.errors import EnvbuildError, RepoError
from envbuild.layers import (
    AdditionsLayer,
    AptLayer,
    CondaLayer,
    GlueLayer,
    LayerPlan,
    OsLayer,
    RegistryLayer,
    WheelLayer,
)
from envbuild.pack.additions import additions_entries
from envbuild.pack.blob import Packed, keep_packed, pack_entries
from envbuild.pack.bytecode import Compiler
from envbuild.pack.conda import HARMLESS_LINK_SCRIPTS, conda_entries
from envbuild.pack.glue import glue_entries
from envbuild.pack.rootfs import os_entries
from envbuild.pack.tar import Entry, complete
from envbuild.pack.wheel import Prefix, wheel_entries
from envbuild.store import Store
from envbuild.store.store import file_digest

__all__ = ["pack_layer"]


def pack_layer(
    layer: LayerPlan, files: dict[str, Path], *, store: Store, compression: str, compiler: Compiler | None
) -> Packed:
    """Pack one planned layer and remember it under its key.

    Parameters:
        files: sha256 to path of every artifact of the layer.
        compiler: the base's interpreter, for layers that need one (:func:`needs_interpreter`).

    Raises:
        RepoError: a package is damaged or unsafe, or two cannot be together.
        DamagedError: an artifact in the cache was damaged; it is removed.
    """
    try:
        packed = _pack(layer, files, store, compression, compiler)
    except EnvbuildError as error:
        _refuse_damaged(files, store, error)
        raise
    keep_packed(store, layer.key, packed)
    return packed


def _refuse_damaged(files: dict[str, Path], store: Store, cause: EnvbuildError) -> None:
    """Blame the cache rather than the package when an artifact is no longer what was downloaded."""
    for sha256, path in sorted(files.items()):
        if not path.exists() or file_digest(path) != sha256:
            raise store.damaged(path, f"the downloaded file {sha256}") from cause


def _pack(
    layer: LayerPlan, files: dict[str, Path], store: Store, compression: str, compiler: Compiler | None
) -> Packed:
    notes: tuple[str, ...] = ()
    with ExitStack() as stack:
        if isinstance(layer, GlueLayer):
            entries = glue_entries(
                name=layer.name,
                display_name=layer.display_name,
                python=layer.python,
                executable=layer.executable,
                kernels=layer.kernels,
                lock=layer.lock,
                environment=layer.environment,
                own_server=layer.own_server,
                conda=layer.conda,
                other_kernels=layer.other_kernels,
            )
        elif isinstance(layer, OsLayer):
            entries = _os_layer(layer, files, store, compiler, stack)
        elif isinstance(layer, AdditionsLayer):
            entries = additions_entries(layer, files)
        elif isinstance(layer, CondaLayer):
            entries, notes = _conda_layer(layer, files, store, compiler, stack)
        else:
            assert not isinstance(layer, AptLayer | RegistryLayer), "made in the sandbox, or not at all"
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
        return replace(pack_entries(store, entries, compression), notes=notes)


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
    prefix = Prefix(layer.prefix, layer.python, layer.libraries)
    merged: dict[bytes, Entry] = {}
    for wheel in layer.wheels:
        spool = stack.enter_context(store.temporary_file())
        path = files[wheel.artifact.sha256]
        for entry in wheel_entries(path, wheel.artifact.filename, prefix, compiler, spool, stack):
            # Two packages that ship the same file (a stray top-level `tests`): as with any installer, the
            # later one wins, and here "later" is by name.
            merged[entry.path] = entry
    return list(merged.values())


def _conda_layer(
    layer: CondaLayer, files: dict[str, Path], store: Store, compiler: Compiler | None, stack: ExitStack
) -> tuple[list[Entry], tuple[str, ...]]:
    """Also what there is to say about packages that would run something when they are installed."""
    prefix = Prefix(layer.prefix, layer.python, layer.libraries)
    merged: dict[bytes, Entry] = {}
    notes = []
    for package in layer.conda:
        scratch = stack.enter_context(store.temporary_directory())
        path = files[package.artifact.sha256]
        packed = conda_entries(package, path, prefix, compiler, scratch)
        if packed.link_script and package.name not in HARMLESS_LINK_SCRIPTS:
            notes.append(
                f"the conda package {package.name} has a script that was not run, {packed.link_script};"
                f" if it does not work without, put `PREFIX=/{layer.prefix} bash {packed.link_script}` into"
                " postBuild"
            )
        for entry in packed.entries:
            merged[entry.path] = entry  # as for wheels, of two that ship the same file the later one wins
    return list(merged.values()), tuple(notes)
