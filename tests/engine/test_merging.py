"""Merging layers where files cannot be linked, and with layers that are not what they were."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.engine import merging
from envbuild.engine.trees import is_whiteout, unpack
from envbuild.errors import DamagedError, MachineError
from envbuild.image.model import Image
from envbuild.pack.tar import directory, file, symlink
from envbuild.progress import Silent
from envbuild.store import Store
from envbuild.store.directory import difference
from tests.support.images import make_image


@pytest.fixture
def image(store: Store) -> Image:
    lower = [file("a/program", b"1" * 5000, mode=0o755), file("a/both", b"lower"), symlink("link", "a/both")]
    return make_image(store, [lower, [file("a/both", b"upper"), directory("b")]])


def _again(store: Store) -> Store:
    """The cache as another process sees it."""
    return Store(store.root, store.warn)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EMLINK, errno.EXDEV, errno.ENOTSUP])
def test_where_there_are_no_links_files_are_copied(
    store: Store, image: Image, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(merging.os, "link", refuse)
    (tree,) = unpack(image, store, Silent())

    assert (b"1" * 5000, 0o755) == (
        (tree / "a/program").read_bytes(),
        (tree / "a/program").stat().st_mode & 0o777,
    )
    assert (b"upper", "a/both") == ((tree / "a/both").read_bytes(), str((tree / "link").readlink()))
    assert difference(tree.parent, {}) is None


def test_other_trouble_with_links_is_not_hidden(
    store: Store, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(merging.os, "link", refuse)
    with pytest.raises(MachineError) as caught:
        unpack(image, store, Silent())

    assert ("disk-full", []) == (caught.value.code, list(store.tmp.iterdir()))


def test_a_removed_name_is_copied_too(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    os.mknod(source, 0o020000, os.makedev(0, 0))
    merging._copy(os.fsencode(source), os.fsencode(target))

    assert is_whiteout(target.lstat())


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda tree: (tree / "a/program").write_bytes(b"2" * 5000),
    "gone": lambda tree: (tree / "a/both").unlink(),
    "added": lambda tree: (tree / "sitecustomize.py").write_text("evil"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_steps_do_not_run_on_altered_trees(store: Store, image: Image, change: str) -> None:
    """What a step makes of its image becomes a layer."""
    (tree,) = unpack(image, store, Silent())
    CHANGES[change](tree)

    (again,) = unpack(image, _again(store), Silent(), check=True)

    assert (b"1" * 5000, b"upper", False) == (
        (again / "a/program").read_bytes(),
        (again / "a/both").read_bytes(),
        (again / "sitecustomize.py").exists(),
    )


def test_starting_does_not_read_trees(store: Store, image: Image) -> None:
    """A second per start would be the price; `cache verify` finds it."""
    (tree,) = unpack(image, store, Silent())
    (tree / "a/program").write_bytes(b"2" * 5000)

    assert (tree,) == unpack(image, _again(store), Silent())
    assert "a/program" == difference(tree.parent, {})


def test_a_layer_that_lost_a_file_is_not_merged(store: Store, image: Image) -> None:
    """The trees of layers are there, that of the run is not: one is made of them."""
    (tree,) = unpack(image, store, Silent())
    run = tree.parent
    for place in store.trees.iterdir():
        if place == run:
            (place / "about").unlink()
        elif (place / "tree/a/program").exists():
            (place / "tree/a/program").unlink()

    with pytest.raises(DamagedError, match="trees-v2"):
        unpack(image, _again(store), Silent())
    (again,) = unpack(image, _again(store), Silent())

    assert b"1" * 5000 == (again / "a/program").read_bytes()


def test_names_that_differ_in_case_on_a_disk_that_does_not_tell(store: Store) -> None:
    image = make_image(store, [[file("README", b"1"), file("readme", b"2")]])
    unpack(image, store, Silent())  # this disk does
    (store.root / "TMP").mkdir()

    assert store.case_collision("readme") is not None


def test_a_layer_with_such_names_is_refused_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    image = make_image(store, [[file("README", b"1"), file("readme", b"2")]])
    (store.root / "TMP").mkdir()
    real = os.open

    def insensitive(path: bytes, flags: int, *rest: int, **options: int) -> int:
        if os.fsencode(path).endswith(b"/readme") and flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, "File exists", path)
        return real(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", insensitive)
    with pytest.raises(MachineError, match="'readme'") as caught:
        unpack(image, store, Silent())

    assert ("case-collision", True) == (
        caught.value.code,
        store.has_blob(image.layers[0].digest, image.layers[0].size),
    )
