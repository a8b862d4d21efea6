"""Every write can fail: nothing half is ever found, nothing is left over, and the second try works."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.engine.trees import unpack
from envbuild.errors import MachineError
from envbuild.fetch import Fetcher, Sources
from envbuild.image.output import Output, write_output
from envbuild.lock.model import Artifact
from envbuild.pack.blob import find_packed, keep_packed, pack_entries
from envbuild.pack.tar import complete, file
from envbuild.progress import Silent
from envbuild.store import Store
from envbuild.store.directory import checked_directory, make_directory
from envbuild.store.images import record_image, stored_images
from envbuild.store.verify import verify
from tests.support.faulty_disk import FaultyDisk
from tests.support.images import make_image

_CONTENT = b"content" * 10_000
_CODES = {
    errno.ENOSPC: {"disk-full", "output-not-writable"},
    errno.EDQUOT: {"disk-full", "output-not-writable"},
    errno.EFBIG: {"file-too-large", "output-not-writable"},
}


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


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    return FaultyDisk(monkeypatch)


def _place(tmp_path: Path, name: str) -> tuple[Store, Path]:
    store, outside = Store(tmp_path / name / "cache"), tmp_path / name / "outside"
    store.prepare()
    outside.mkdir()
    (outside / "demo.whl").write_bytes(_CONTENT)
    return store, outside


@pytest.mark.parametrize(
    ("work", "number"),
    [*((work, errno.ENOSPC) for work in WORK), ("pack", errno.EDQUOT), ("directory", errno.EFBIG)],
)
def test_a_write_that_fails(tmp_path: Path, disk: FaultyDisk, work: str, number: int) -> None:
    """The first one, the second one, and so on, until there are no more."""
    expected = WORK[work](*_place(tmp_path, "expected"))
    at = 0
    while True:
        at += 1
        store, outside = _place(tmp_path, str(at))
        before = sorted(outside.iterdir())
        try:
            with disk.failing(at, number):
                WORK[work](store, outside)
        except MachineError as error:
            assert error.code in _CODES[number]
            assert error.remedy
        if not disk.failed:
            break
        assert [] == list(store.tmp.iterdir()), f"left over when change {at} failed"
        assert () == verify(store, Silent()).damage
        if (outside / "layout").exists() or (outside / "image.tar").exists():
            continue  # what failed came after it was whole
        assert before == sorted(outside.iterdir()), f"left over when change {at} failed"
        assert expected == WORK[work](Store(store.root), outside)
    assert at > 3


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
def test_preparing_the_cache(tmp_path: Path, disk: FaultyDisk, number: int) -> None:
    at = 0
    while True:
        at += 1
        store = Store(tmp_path / str(at) / "cache")
        try:
            with disk.failing(at, number):
                store.prepare()
        except MachineError as error:
            assert error.code in {"disk-full", "cache-not-writable", "disk-failed"}
        if not disk.failed:
            break
        store.prepare()
        assert () == verify(store, Silent()).damage
    assert at > 10
