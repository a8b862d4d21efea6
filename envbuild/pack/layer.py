"""From a layer's plan to a blob in the store: pack, hash, compress, in one pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from envbuild.base.recipe import recipe_named
from envbuild.pack import codec, recipe
from envbuild.pack.bytecode import Compiler
from envbuild.pack.glue import glue_entries
from envbuild.pack.rootfs import os_entries
from envbuild.pack.tar import Entry, complete, write_tar
from envbuild.plan import GlueLayer, LayerPlan, OsLayer, WheelLayer
from envbuild.store import Store
from envbuild.store.store import HashingWriter

__all__ = ["Packed", "find_packed", "pack_entries", "pack_layer"]


@dataclass(frozen=True, slots=True)
class Packed:
    """A layer blob: its identity (``diff_id``, ``raw_size``) and how it is stored; sizes in bytes."""

    diff_id: str
    raw_size: int
    digest: str
    size: int
    compression: str


def _encoding_key(diff_id: str, compression: str) -> str:
    return hashlib.sha256(f"encoded {diff_id} {recipe.ENCODERS[compression]}".encode()).hexdigest()


def _find_encoded(store: Store, diff_id: str, raw_size: int, compression: str) -> Packed | None:
    record = store.action(_encoding_key(diff_id, compression))
    if record is None or not store.has_blob(record["digest"], record["size"]):
        return None
    return Packed(diff_id, raw_size, record["digest"], record["size"], compression)


def _keep_encoded(store: Store, packed: Packed) -> None:
    record = {"digest": packed.digest, "size": packed.size}
    store.put_action(_encoding_key(packed.diff_id, packed.compression), record)


def find_packed(store: Store, key: str, compression: str) -> Packed | None:
    """The layer with this plan key, if the store has it; in another encoding it is encoded anew."""
    record = store.action(key)
    if record is None:
        return None
    diff_id, raw_size = str(record["diff_id"]), int(record["raw_size"])
    found = _find_encoded(store, diff_id, raw_size, compression)
    if found is not None:
        return found
    for other in sorted(recipe.ENCODERS):
        source = _find_encoded(store, diff_id, raw_size, other)
        if source is not None:
            return _transcode(store, source, compression)
    return None


def _transcode(store: Store, source: Packed, compression: str) -> Packed | None:
    """``source`` in another compression; None when its blob turns out to be damaged."""
    with store.blob_writer() as blob, store.blob_path(source.digest).open("rb") as stream:
        encoder = codec.encoder(compression, blob)
        raw = HashingWriter(encoder)
        try:
            for chunk in codec.decode(source.compression, stream):
                raw.write(chunk)
        except ValueError:
            return None
        if raw.digest != source.diff_id:
            return None
        encoder.finish()
    packed = Packed(source.diff_id, source.raw_size, blob.digest, blob.size, compression)
    _keep_encoded(store, packed)
    return packed


def pack_entries(store: Store, entries: Iterable[Entry], compression: str) -> Packed:
    """Write ``entries`` (see :func:`tar.complete`) as a layer blob."""
    with store.blob_writer() as blob:
        encoder = codec.encoder(compression, blob)
        raw = HashingWriter(encoder)
        write_tar(entries, raw)
        encoder.finish()
    packed = Packed(raw.digest, raw.size, blob.digest, blob.size, compression)
    _keep_encoded(store, packed)
    return packed


def pack_layer(
    layer: LayerPlan, files: dict[str, Path], *, store: Store, compression: str, compiler: Compiler | None
) -> Packed:
    """Pack one planned layer and remember it under its key.

    Parameters:
        files: sha256 to path of every artifact of the layer.
        compiler: the base's interpreter; only the glue layer does without.

    Raises:
        RepoError: a package is damaged or unsafe.
    """
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
        packed = pack_entries(store, complete(entries), compression)
    store.put_action(layer.key, {"diff_id": packed.diff_id, "raw_size": packed.raw_size})
    return packed


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
    # Here, because a build that finds all its layers in the store never needs it.
    from envbuild.pack.wheel import Prefix, wheel_entries

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
