"""Layer blobs in the store: written in one pass (tar, hash, compress), found again by their plan's key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from envbuild.pack import codec, recipe
from envbuild.pack.tar import Entry, Sink, write_tar
from envbuild.store import Store
from envbuild.store.disk import touch
from envbuild.store.store import HashingWriter

__all__ = ["Packed", "find_packed", "keep_packed", "pack_entries", "pack_stream"]


@dataclass(frozen=True, slots=True)
class Packed:
    """A layer blob: its identity (``diff_id``, ``raw_size``) and how it is stored; sizes in bytes.

    ``notes`` are what its user may want to know, as sentences. ``place`` is the repository in a registry that
    says what the layer is, or that said so of a layer which the step that made it ran on; "" when all of it
    was made on this machine.
    """

    diff_id: str
    raw_size: int
    digest: str
    size: int
    compression: str
    notes: tuple[str, ...] = ()
    place: str = ""


def _encoding_key(diff_id: str, compression: str) -> str:
    return hashlib.sha256(f"encoded {diff_id} {recipe.ENCODERS[compression]}".encode()).hexdigest()


def _find_encoded(store: Store, diff_id: str, raw_size: int, compression: str) -> Packed | None:
    record = store.action(_encoding_key(diff_id, compression))
    if record is None or not store.has_blob(record["digest"], record["size"]):
        return None
    touch(store.blob_path(record["digest"]))  # tells `cache prune` that it is used
    return Packed(diff_id, raw_size, record["digest"], record["size"], compression)


def _keep_encoded(store: Store, packed: Packed) -> None:
    record = {"digest": packed.digest, "size": packed.size}
    store.put_action(_encoding_key(packed.diff_id, packed.compression), record)


def find_packed(store: Store, key: str, compression: str, trusted: Collection[str] = ()) -> Packed | None:
    """The layer with this plan key, if the store has it; in another encoding it is encoded anew.

    Parameters:
        trusted: places that may say what a layer is; what others said is as if it were not there.
    """
    record = store.action(key)
    if record is None or record.get("place", "") not in ("", *trusted):
        return None
    diff_id, raw_size = str(record["diff_id"]), int(record["raw_size"])
    found = _find_encoded(store, diff_id, raw_size, compression)
    for other in sorted(recipe.ENCODERS):
        if found is None and (source := _find_encoded(store, diff_id, raw_size, other)) is not None:
            found = _transcode(store, source, compression)
    if found is None:
        return None
    return replace(found, notes=tuple(record.get("notes", ())), place=record.get("place", ""))


def keep_packed(store: Store, key: str, packed: Packed) -> None:
    """Remember ``packed`` as what the layer with this plan key is, and how it is encoded."""
    record: dict[str, Any] = {"diff_id": packed.diff_id, "raw_size": packed.raw_size}
    if packed.notes:
        record["notes"] = list(packed.notes)
    if packed.place:
        record["place"] = packed.place
    _keep_encoded(store, packed)
    store.put_action(key, record)


def _transcode(store: Store, source: Packed, compression: str) -> Packed | None:
    """``source`` in another compression; None when its blob turns out to be damaged: it is removed."""
    path = store.blob_path(source.digest)
    try:
        with store.blob_writer() as blob, path.open("rb") as stream:
            encoder = codec.encoder(compression, blob)
            raw = HashingWriter(encoder)
            for chunk in codec.decode(source.compression, stream):
                raw.write(chunk)
            if raw.digest != source.diff_id:
                raise ValueError("another layer")
            encoder.finish()
    except FileNotFoundError:
        return None
    except ValueError:
        store.remove_damaged(path, f"the blob {source.digest}")
        return None
    packed = Packed(source.diff_id, source.raw_size, blob.digest, blob.size, compression)
    _keep_encoded(store, packed)
    return packed


def pack_entries(store: Store, entries: Iterable[Entry], compression: str) -> Packed:
    """Write ``entries`` (see :func:`tar.complete`) as a layer blob."""
    return _pack(store, lambda sink: write_tar(entries, sink), compression)


def pack_stream(store: Store, chunks: Iterable[bytes], compression: str) -> Packed:
    """Keep a tar that somebody else wrote as a layer blob."""

    def write(sink: Sink) -> None:
        for chunk in chunks:
            sink.write(chunk)

    return _pack(store, write, compression)


def _pack(store: Store, write: Callable[[Sink], None], compression: str) -> Packed:
    with store.blob_writer() as blob:
        encoder = codec.encoder(compression, blob)
        raw = HashingWriter(encoder)
        write(raw)
        encoder.finish()
    packed = Packed(raw.digest, raw.size, blob.digest, blob.size, compression)
    _keep_encoded(store, packed)
    return packed
