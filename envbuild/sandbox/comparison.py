"""What differs between two layers that should be the same."""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import dataclass

from envbuild.image.model import Layer
from envbuild.pack import codec
from envbuild.pack.blob import Packed
from envbuild.source import printable
from envbuild.store import Store

__all__ = ["Difference", "differences", "layer_paths"]

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """A path (printable) and ``what`` differs there, for people."""

    path: str
    what: str


def differences(store: Store, first: Packed, second: Packed) -> tuple[Difference, ...]:
    """The files that differ between two layers of the store, by path."""
    one, two = _contents(store, first), _contents(store, second)
    found = []
    for name in sorted(one.keys() | two.keys()):
        what = _difference(one.get(name), two.get(name))
        if what is not None:
            found.append(Difference(printable(name.encode("utf-8", "surrogateescape")), what))
    return tuple(found)


def layer_paths(store: Store, layer: Layer) -> list[str]:
    """The paths of a layer of the store, as they are stored; directories without a slash."""
    return sorted(_contents(store, layer))


@dataclass(frozen=True, slots=True)
class _File:
    kind: bytes
    mode: int
    target: str
    digest: str


def _difference(one: _File | None, two: _File | None) -> str | None:
    if one is None:
        return "only the second run made it"
    if two is None:
        return "only the first run made it"
    if one.kind != two.kind:
        return "kind"
    if one.target != two.target:
        return "target of the link"
    wrong = [
        what
        for what, same in (("content", one.digest == two.digest), ("mode", one.mode == two.mode))
        if not same
    ]
    return " and ".join(wrong) or None


def _contents(store: Store, layer: Packed | Layer) -> dict[str, _File]:
    found = {}
    with store.temporary_file() as raw:
        with store.blob_path(layer.digest).open("rb") as stream, raw.open("wb") as sink:
            for chunk in codec.decode(layer.compression, stream):
                sink.write(chunk)
        with tarfile.open(raw, "r:", encoding="utf-8", errors="surrogateescape") as archive:
            for member in archive:
                digest = hashlib.sha256()
                content = archive.extractfile(member) if member.isreg() else None
                while content is not None and (chunk := content.read(_CHUNK)):
                    digest.update(chunk)
                found[member.name] = _File(member.type, member.mode, member.linkname, digest.hexdigest())
    return found
