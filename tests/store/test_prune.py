"""What pruning takes, and above all what it leaves."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from envbuild.errors import MachineError
from envbuild.pack.blob import find_packed, keep_packed, pack_entries
from envbuild.pack.tar import complete, file
from envbuild.store import Blob, Store
from envbuild.store.disk import MACHINE
from envbuild.store.images import forget_images, record_image, stored_images
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


def test_a_dry_run_tells_and_leaves(store: Store) -> None:
    path = store.artifact_path("a" * 64)
    path.write_bytes(b"wheel")
    _age(path, 40)

    told = prune(store, now=NOW, older_than=30 * DAY, dry_run=True)

    assert ((1, 5), True) == ((told.entries, told.size), path.exists())
    assert told == prune(store, now=NOW, older_than=30 * DAY)


def test_a_dry_run_forgets_no_names(store: Store) -> None:
    _image(store, "demo", [b"layer"], days=40)

    told = prune(store, older_than=0, everything=True, dry_run=True, now=NOW)

    assert (("demo",), ["demo"]) == (told.images, [image.name for image in stored_images(store)])


def test_max_size_knows_that_linked_files_cost_once(store: Store) -> None:
    """Merged trees share files with those of layers: only when the last one goes, space is won."""
    for number, days in ((1, 3), (2, 2)):
        tree = store.trees / str(number)
        tree.mkdir()
        if number == 1:
            (tree / "file").write_bytes(bytes(1000))
        else:
            os.link(store.trees / "1" / "file", tree / "file")
        _age(tree, days)
    artifact = store.artifact_path("a" * 64)
    artifact.write_bytes(bytes(10))
    _age(artifact, 1)

    pruned = prune(store, older_than=30 * DAY, max_size=usage(store)["store-v1"] + 10, now=NOW)

    assert ([], True) == (list(store.trees.iterdir()), artifact.exists())
    assert (1000, usage(store)["store-v1"] + 10) == (pruned.size, pruned.remaining)


def test_looking_is_not_using(store: Store) -> None:
    """What reads a tree, like `cache list` and `cache verify`, does not keep it."""
    tree = _age(_make_tree(store.trees / "0"), 40)
    os.utime(tree, (NOW, NOW - 40 * DAY))  # read just now

    assert 1 == prune(store, older_than=30 * DAY, now=NOW).entries


def test_packed_layers_that_are_found_again_are_in_use(store: Store) -> None:
    packed = pack_entries(store, complete([file("a", b"content")]), "zstd")
    keep_packed(store, "1" * 64, packed)
    for path in (*store.actions.iterdir(), store.blob_path(packed.digest)):
        os.utime(path, (0, 0))

    assert packed == find_packed(store, "1" * 64, "zstd")

    assert (0, True) == (prune(store, older_than=DAY).entries, store.has_blob(packed.digest, packed.size))


def test_what_others_use_while_we_prune_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was old when we looked; before we came to it, a build has found it."""
    path = store.artifact_path("a" * 64)
    path.write_bytes(b"wheel")
    _age(path, 40)
    real = forget_images

    def use(*arguments: object) -> object:
        os.utime(path)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("envbuild.store.prune.forget_images", use)

    assert (0, True) == (prune(store, older_than=30 * DAY, now=NOW).entries, path.exists())


def test_where_needed_blobs_are_is_not_forgotten(store: Store) -> None:
    """A layer that is only in a registry is found by its place."""
    _, (layer,) = _image(store, "demo", [b"layer"], days=400)
    store.blob_path(layer.digest).unlink()
    needed = store.place_path(layer.digest)
    other = store.place_path("sha256:" + "0" * 64)
    for path in (needed, other):
        store.put_record(path, ["registry.example.org/demo"])
        _age(path, 400)

    prune(store, now=NOW, older_than=30 * DAY)

    assert (True, False) == (needed.exists(), other.exists())


# Clocks that are wrong


def _last_used(store: Store, days: float) -> None:
    with in_use(store):
        pass
    _age(store.locks / "in-use", days)


def test_a_clock_that_jumped_ahead_takes_nothing(store: Store) -> None:
    path = store.artifact_path("a" * 64)
    path.write_bytes(b"wheel")
    _age(path, 0)
    _last_used(store, 0)

    with pytest.raises(MachineError) as caught:
        prune(store, now=NOW + 20 * 365 * DAY)

    assert ("clock-doubtful", True) == (caught.value.code, path.exists())
    assert "2046" in caught.value.message


def test_who_says_how_old_is_believed(store: Store) -> None:
    path = store.artifact_path("a" * 64)
    path.write_bytes(b"wheel")
    _age(path, 0)
    _last_used(store, 0)

    assert 1 == prune(store, older_than=30 * DAY, now=NOW + 20 * 365 * DAY).entries


@pytest.mark.parametrize("now", [0.0, NOW - 3000 * DAY])
def test_a_clock_that_jumped_back_takes_nothing(store: Store, now: float) -> None:
    """Also one without a battery, in 1970."""
    path = store.artifact_path("a" * 64)
    path.write_bytes(b"wheel")
    _age(path, 0)
    _last_used(store, 0)

    pruned = prune(store, now=now)

    assert (0, 1, True) == (pruned.entries, pruned.future, path.exists())


def test_what_was_used_in_the_future_goes_last(store: Store) -> None:
    paths = []
    for number, days in enumerate((-5000, 3)):
        path = store.artifact_path(f"{number:064x}")
        path.write_bytes(bytes(1000))
        paths.append(_age(path, days))

    pruned = prune(store, older_than=30 * DAY, max_size=usage(store)["store-v1"] + 1000, now=NOW)

    assert ([True, False], 1) == ([path.exists() for path in paths], pruned.future)


def test_times_after_2038_and_before_1980(store: Store) -> None:
    for name, moment in (("a", 2**31 + DAY), ("b", 1.0)):
        path = store.artifact_path(name * 64)
        path.write_bytes(b"wheel")
        os.utime(path, (moment, moment))

    pruned = prune(store, older_than=DAY, now=2**31 + 3 * DAY)

    assert (2, 0) == (pruned.entries, pruned.future)


# What cannot be removed


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EBUSY, errno.ESTALE, errno.EROFS])
def test_what_is_not_ours_to_remove_stays_and_is_counted(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = store.artifact_path("a" * 64)
    path.write_bytes(b"wheel")
    _age(path, 40)

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "unlink", refuse)
    pruned = prune(store, older_than=30 * DAY, now=NOW)

    assert (0, 0, 1) == (pruned.entries, pruned.size, pruned.foreign)


def test_directories_that_cannot_be_moved_are_removed_where_they_are(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that came with a container's image, on overlayfs."""
    _age(_make_tree(store.trees / "0"), 40)

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(Path, "rename", refuse)

    assert 1 == prune(store, older_than=30 * DAY, now=NOW).entries
    assert ([], []) == (list(store.trees.iterdir()), list(store.tmp.iterdir()))


def test_many_entries(store: Store) -> None:
    """Nothing is looked at more often than it has to be."""
    for number in range(2000):
        (store.artifacts / f"{number:064x}").touch()
        if number % 2:
            os.utime(store.artifacts / f"{number:064x}", (NOW - 40 * DAY, NOW - 40 * DAY))

    assert 1000 == prune(store, older_than=30 * DAY, now=NOW).entries
    assert 1000 == len(list(store.artifacts.iterdir()))
