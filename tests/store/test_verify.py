"""`cache verify`: everything that is damaged is found, named and removed, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.progress import Silent
from envbuild.store import Blob, Store
from envbuild.store.directory import make_directory
from envbuild.store.images import record_image, stored_images
from envbuild.store.prune import in_use
from envbuild.store.verify import verify


def _put_artifact(store: Store, data: bytes) -> Path:
    path = store.artifact_path(hashlib.sha256(data).hexdigest())
    path.write_bytes(data)
    return path


def _put_index(store: Store, data: bytes) -> Path:
    path = store.debian / f"{hashlib.sha256(data).hexdigest()}.xz"
    path.write_bytes(data)
    return path


def _put_tree(directory: Path) -> Callable[[Store], Path]:
    def put(store: Store) -> Path:
        place = store.root / directory / "demo"
        make_directory(store, place, lambda tree: (tree / "file").write_bytes(b"content") and None)
        return place / "tree" / "file"

    return put


def _put_record(store: Store, directory: Path, name: str) -> Path:
    store.put_record(directory / name, {"size": 3})
    return directory / name


THINGS: dict[str, Callable[[Store], Path]] = {
    "blob": lambda store: store.blob_path(store.put_blob(b"layer").digest),
    "artifact": lambda store: _put_artifact(store, b"wheel"),
    "action": lambda store: _put_record(store, store.actions, "ab"),
    "image": lambda store: _put_record(store, store.images, "ab"),
    "place": lambda store: _put_record(store, store.places, "ab"),
    "source": lambda store: _put_record(store, store.sources, "ab"),
    "answer": lambda store: _put_record(store, store.debian, "ab.json"),
    "index": lambda store: _put_index(store, b"packages"),
    "interpreter": _put_tree(Path("interpreters-v2")),
    "tool": _put_tree(Path("tools-v2")),
    "tree": _put_tree(Path("trees-v2")),
    "checkout": _put_tree(Path("checkouts-v2")),
}


def _flip(data: bytes) -> bytes:
    return data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "flipped": _flip,
    "truncated": lambda data: data[:-1],
    "emptied": lambda data: b"",
    "other": lambda data: bytes(len(data)),
}


def test_nothing_is_wrong_with_what_is_right(store: Store) -> None:
    for put in THINGS.values():
        put(store)

    verified = verify(store, Silent())

    assert (len(THINGS), ()) == (verified.entries, verified.damage)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("thing", THINGS)
def test_all_damage_is_found_and_only_that_goes(store: Store, thing: str, damage: str) -> None:
    paths = {name: put(store) for name, put in THINGS.items()}
    path = paths[thing]
    if thing in ("action", "image", "place", "source", "answer") and damage == "truncated":
        path.write_bytes(path.read_bytes()[:-2])  # the last byte of a record is a line break
    else:
        path.write_bytes(DAMAGE[damage](path.read_bytes()))

    (found,) = verify(store, Silent()).damage

    assert (True, True) == (found.removed, str(path).startswith(str(store.root / found.part)))
    assert {thing} == {name for name, path in paths.items() if not path.exists()}
    assert () == verify(store, Silent()).damage


def _image(store: Store, name: str, layer: Blob) -> Blob:
    config = store.put_blob(json.dumps({"rootfs": {"diff_ids": [layer.digest]}}).encode())
    content = {
        "config": {"digest": config.digest, "size": config.size},
        "layers": [{"digest": layer.digest, "size": layer.size}],
    }
    manifest = store.put_blob(json.dumps(content).encode())
    record_image(store, name, "linux/amd64", manifest)
    return manifest


def test_the_images_that_need_it_are_named(store: Store) -> None:
    layer = store.put_blob(b"layer")
    for name in ("one:1", "two:2"):
        _image(store, name, layer)
    _image(store, "three:3", store.put_blob(b"another"))
    store.blob_path(layer.digest).write_bytes(b"reyal")

    (found,) = verify(store, Silent()).damage

    assert ("store-v1", layer.digest[7:], ("one:1", "two:2")) == (found.part, found.name, found.images)


def test_a_dry_run_leaves_everything(store: Store, warnings: list[str]) -> None:
    paths = [put(store) for put in THINGS.values()]
    manifest = _image(store, "one:1", store.put_blob(b"layer"))
    for path in (*paths, store.blob_path(manifest.digest)):
        path.write_bytes(b"")

    found = verify(store, Silent(), remove=False).damage

    assert (len(paths) + 1, set()) == (len(found), {damage.removed for damage in found} - {False})
    assert all(path.exists() for path in paths)
    assert [] == warnings


def test_trees_of_a_running_container_stay(store: Store) -> None:
    path, artifact = THINGS["tree"](store), THINGS["artifact"](store)
    path.write_bytes(b"changed")
    artifact.write_bytes(b"changed")

    with in_use(store):
        found = {damage.part: damage.removed for damage in verify(store, Silent()).damage}

    assert ({"artifacts-v1": True, "trees-v2": False}, True) == (found, path.exists())


def test_what_others_remove_meanwhile_is_not_damaged(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = THINGS["artifact"](store)

    def vanish(path: Path) -> str:
        path.unlink()
        raise FileNotFoundError(2, "No such file", str(path))

    monkeypatch.setattr("envbuild.store.verify.file_digest", vanish)

    assert () == verify(store, Silent()).damage
    assert not path.exists()


def test_what_cannot_be_read_is_damaged(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad block: what was on it is made anew, somewhere else."""
    path = THINGS["artifact"](store)

    def fail(path: Path) -> str:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr("envbuild.store.verify.file_digest", fail)
    (found,) = verify(store, Silent()).damage

    assert ("it cannot be read: Input/output error", False) == (found.problem, path.exists())


def test_names_that_are_no_digests_do_not_belong_there(store: Store) -> None:
    (store.blobs / "upload.tmp").write_bytes(b"half")
    (store.blobs / ".nfs0001").write_bytes(b"held open by another machine")

    assert [("upload.tmp", True)] == [
        (damage.name, damage.removed) for damage in verify(store, Silent()).damage
    ]


def test_a_damaged_name_of_an_image_is_reported(store: Store) -> None:
    _image(store, "one:1", store.put_blob(b"layer"))
    (record,) = store.images.iterdir()
    record.write_bytes(b"")

    assert ["images-v1"] == [damage.part for damage in verify(store, Silent()).damage]
    assert () == stored_images(store)
