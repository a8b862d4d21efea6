"""What pruning takes, and above all what it leaves."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from envbuild.errors import MachineError
from envbuild.store import Blob, Store
from envbuild.store.disk import MACHINE
from envbuild.store.images import record_image, stored_images
from envbuild.store.prune import in_use, prune
from envbuild.store.usage import usage

NOW = datetime(2026, 7, 1, tzinfo=UTC).timestamp()
DAY = 86400


def _age(path: Path, days: float) -> Path:
    os.utime(path, (NOW - days * DAY, NOW - days * DAY))
    return path


def _image(store: Store, name: str, layers: list[bytes], *, days: float = 0) -> tuple[Blob, list[Blob]]:
    """A named image of these layers, all of its blobs last used ``days`` ago."""
    stored = [store.put_blob(layer) for layer in layers]
    config = store.put_blob(
        json.dumps({"rootfs": {"diff_ids": [f"sha256:{blob.size:064x}" for blob in stored]}}).encode()
    )
    manifest = store.put_blob(
        json.dumps(
            {
                "config": {"digest": config.digest, "size": config.size},
                "layers": [{"digest": blob.digest, "size": blob.size} for blob in stored],
            }
        ).encode()
    )
    record_image(store, name, "linux/amd64", manifest, now=datetime.fromtimestamp(NOW - days * DAY, UTC))
    for blob in (*stored, config, manifest):
        _age(store.blob_path(blob.digest), days)
    return manifest, stored


def test_what_named_images_need_stays_however_old(store: Store) -> None:
    _image(store, "demo", [b"base", b"packages"], days=400)

    pruned = prune(store, now=NOW)

    assert (0, 0, ()) == (pruned.entries, pruned.size, pruned.images)
    assert ["demo"] == [image.name for image in stored_images(store)]


def test_a_replaced_image_goes_and_what_it_shared_stays(store: Store) -> None:
    old, (base, old_packages) = _image(store, "demo", [b"base", b"old packages"], days=40)
    _, (_, new_packages) = _image(store, "demo", [b"base", b"new packages"], days=40)

    prune(store, now=NOW)

    present = [store.has_blob(blob.digest, blob.size) for blob in (base, old_packages, new_packages, old)]
    assert [True, False, True, False] == present


def test_what_was_used_recently_stays(store: Store) -> None:
    young, old = store.artifact_path("a" * 64), store.artifact_path("b" * 64)
    for path, days in ((young, 29), (old, 31)):
        path.write_bytes(b"wheel")
        _age(path, days)

    pruned = prune(store, now=NOW)

    assert (True, False, 1, 5) == (young.exists(), old.exists(), pruned.entries, pruned.size)


def test_records_go_with_what_they_describe(store: Store) -> None:
    _, (layer,) = _image(store, "demo", [b"layer"], days=40)
    store.put_action("1" * 64, {"digest": layer.digest, "size": 5})
    store.put_action("2" * 64, {"diff_id": f"sha256:{5:064x}", "raw_size": 5})
    store.put_action("3" * 64, {"digest": "sha256:" + "0" * 64, "size": 5})
    for key in "123":
        _age(store.actions / (key * 64), 40)

    prune(store, now=NOW)

    assert ["1" * 64, "2" * 64] == sorted(path.name for path in store.actions.iterdir())


def test_max_size_takes_the_least_recently_used_first(store: Store) -> None:
    paths = []
    for days in (1, 2, 3):
        path = store.artifact_path(f"{days:064x}")
        path.write_bytes(bytes(1000))
        paths.append(_age(path, days))

    pruned = prune(store, max_size=usage(store)["store-v1"] + 1500, now=NOW)

    assert [True, False, False] == [path.exists() for path in paths]
    assert pruned.remaining <= usage(store)["store-v1"] + 1500


def test_max_size_never_takes_what_named_images_need(store: Store) -> None:
    _image(store, "demo", [bytes(5000)])

    pruned = prune(store, max_size=0, now=NOW)

    assert pruned.remaining > 5000


def test_all_takes_images_and_tools(store: Store) -> None:
    _image(store, "demo", [b"layer"])
    (store.tools / "bubblewrap").mkdir()
    (store.tools / "bubblewrap" / "bwrap").write_bytes(b"program")

    pruned = prune(store, older_than=0, everything=True)

    assert (("demo",), (), [], []) == (
        pruned.images,
        stored_images(store),
        list(store.blobs.iterdir()),
        list(store.tools.iterdir()),
    )


def test_all_with_an_age_spares_young_images(store: Store) -> None:
    _image(store, "old", [b"layer 1"], days=40)
    _image(store, "young", [b"layer 2"], days=2)

    pruned = prune(store, older_than=30 * DAY, everything=True, now=NOW)

    assert (("old",), ["young"]) == (pruned.images, [image.name for image in stored_images(store)])


def test_unfinished_work_of_the_dead_goes(store: Store) -> None:
    (store.tmp / f"{MACHINE}half-a-layer").write_bytes(b"x")
    (store.tmp / f"{MACHINE}tree").mkdir()
    (store.tmp / f"{MACHINE}tree" / "file").write_bytes(b"y")

    prune(store)

    assert [] == list(store.tmp.iterdir())


def test_unfinished_work_of_a_running_process_stays(store: Store) -> None:
    tree = _age(_make_tree(store.trees / "0"), 400)

    with in_use(store):
        half = store.tmp / f"{MACHINE}half-a-layer"
        half.write_bytes(b"x")
        pruned = prune(store, older_than=0)
        assert (True, True, True) == (pruned.busy, half.exists(), tree.exists())


def test_whoever_comes_alone_clears_up(store: Store) -> None:
    half = store.tmp / f"{MACHINE}left by a killed process"
    half.write_bytes(b"x")

    with in_use(store):
        assert not half.exists()
        (store.tmp / f"{MACHINE}left by a worker").write_bytes(b"y")

    assert [] == list(store.tmp.iterdir())


def test_whoever_comes_later_leaves_everything(store: Store) -> None:
    with in_use(store):
        half = store.tmp / "in the making"
        half.write_bytes(b"x")
        with in_use(store):
            pass
        assert half.exists()


def test_all_is_refused_while_another_envbuild_runs(store: Store) -> None:
    with in_use(store), pytest.raises(MachineError) as caught:
        prune(store, everything=True)

    assert "cache-busy" == caught.value.code


def test_buckets_of_other_versions_go_and_strange_files_stay(store: Store) -> None:
    (store.root / "trees-v0" / "x").mkdir(parents=True)
    (store.root / "my notes").mkdir()

    prune(store)

    assert (False, True) == ((store.root / "trees-v0").exists(), (store.root / "my notes").exists())


def test_directories_nobody_may_write_to_are_removed(store: Store) -> None:
    tree = _make_tree(store.trees / "0")
    for path in (tree / "sub", tree):
        path.chmod(0o555)

    prune(store, older_than=0)

    assert ([], []) == (list(store.trees.iterdir()), list(store.tmp.iterdir()))


def test_links_are_removed_not_followed(store: Store, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_bytes(b"keep me")
    (store.tmp / "link").symlink_to(precious)
    (_make_tree(store.trees / "0") / "link").symlink_to(precious)

    prune(store, older_than=0)

    assert b"keep me" == (precious / "file").read_bytes()


def test_sizes_count_hard_links_once(store: Store) -> None:
    (store.trees / "a").write_bytes(bytes(700))
    os.link(store.trees / "a", store.trees / "b")

    assert 700 == usage(store)[store.trees.name]


def test_a_damaged_index_is_an_empty_one(store: Store) -> None:
    (store.layout / "index.json").write_bytes(b'{"manifests": [3, {"annotations": 4}]}')

    assert () == stored_images(store)


def _make_tree(path: Path) -> Path:
    (path / "sub").mkdir(parents=True)
    (path / "sub" / "file").write_bytes(b"content")
    return path
