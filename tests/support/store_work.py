"""Everything that is written to a store, as work that can be done again and says what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from envbuild.engine.trees import unpack
from envbuild.fetch import Fetcher, Sources
from envbuild.image.output import Output, write_output
from envbuild.lock.model import Artifact
from envbuild.pack.blob import find_packed, keep_packed, pack_entries
from envbuild.pack.tar import complete, file
from envbuild.progress import Silent
from envbuild.store import Store
from envbuild.store.directory import checked_directory, make_directory
from envbuild.store.images import record_image, stored_images
from tests.support.images import make_image

__all__ = ["WORK", "place_for_work"]

_CONTENT = b"content" * 10_000


def place_for_work(root: Path) -> tuple[Store, Path]:
    """An empty store, and a directory outside of it: what the work fetches is there, and what it writes."""
    store, outside = Store(root / "cache"), root / "outside"
    store.prepare()
    outside.mkdir()
    (outside / "demo.whl").write_bytes(_CONTENT)
    return store, outside


def _pack(store: Store, outside: Path) -> object:
    packed = find_packed(store, "ab", "zstd")
    if packed is None:
        packed = pack_entries(store, complete([file("a", _CONTENT), file("b", b"")]), "zstd")
        keep_packed(store, "ab", packed)
    return packed


def _name(store: Store, outside: Path) -> object:
    record_image(store, "demo:1", "linux/amd64", store.put_blob(b"{}"))
    return [(image.name, image.manifest) for image in stored_images(store)]


def _directory(store: Store, outside: Path) -> object:
    place = store.tools / "demo"
    about = checked_directory(store, place)
    if about is None:
        about = make_directory(store, place, lambda tree: (tree / "a").write_bytes(_CONTENT) and None)
    return (about, (place / "tree" / "a").read_bytes())


def _fetch(store: Store, outside: Path) -> object:
    wheel = outside / "demo.whl"
    artifact = Artifact("demo.whl", hashlib.sha256(_CONTENT).hexdigest(), len(_CONTENT), "here", "demo.whl")
    with Fetcher(store, Sources({"here": (wheel.parent.as_uri(),)})) as fetcher:
        return fetcher.fetch(artifact).read_bytes()


def _unpack(store: Store, outside: Path) -> object:
    image = make_image(store, [[file("a", b"1")], [file("b", b"2")]])
    (tree,) = unpack(image, store, Silent())
    return {path.name: path.read_bytes() for path in tree.iterdir()}


def _layout(store: Store, outside: Path) -> object:
    image = make_image(store, [[file("a", _CONTENT)]])
    write_output([image], store, Output("oci", outside / "layout"), ["demo:1"])
    blobs = (outside / "layout" / "blobs" / "sha256").iterdir()
    assert all(hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name for blob in blobs)
    return (outside / "layout" / "index.json").read_bytes()


def _archive(store: Store, outside: Path) -> object:
    image = make_image(store, [[file("a", _CONTENT)]])
    write_output([image], store, Output("archive", outside / "image.tar"), ["demo:1"])
    return hashlib.sha256((outside / "image.tar").read_bytes()).hexdigest()


WORK: dict[str, Callable[[Store, Path], object]] = {
    "pack": _pack,
    "name": _name,
    "directory": _directory,
    "fetch": _fetch,
    "unpack": _unpack,
    "layout": _layout,
    "archive": _archive,
}
