"""Directories in the cache: whole, listed, and checked against the list."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.errors import MachineError
from envbuild.store import Store
from envbuild.store import directory as kept
from envbuild.store.directory import checked_directory, has_directory, make_directory


def _fill(tree: Path) -> dict[str, str]:
    (tree / "bin").mkdir()
    (tree / "bin" / "python").write_bytes(b"program" * 1000)
    (tree / "bin" / "python").chmod(0o755)
    (tree / "empty").write_bytes(b"")
    (tree / "link").symlink_to("bin/python")
    os.link(tree / "bin" / "python", tree / "same")
    (Path(os.fsdecode(os.fsencode(tree) + b"/caf\xe9"))).write_bytes(b"x")
    return {"commit": "abc"}


@pytest.fixture
def place(store: Store) -> Path:
    place = store.tools / "demo"
    make_directory(store, place, _fill)
    return place


def _again(store: Store) -> Store:
    """The same cache as another process sees it."""
    return Store(store.root, store.warn)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_it_is_found_with_what_is_known_about_it(store: Store, place: Path) -> None:
    assert (True, {"commit": "abc"}) == (has_directory(store, place), checked_directory(_again(store), place))
    assert [] == list(store.tmp.iterdir())


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit": (lambda tree: _flip(tree / "bin" / "python"), "same"),
    "cut short": (lambda tree: (tree / "bin" / "python").write_bytes(b"pro"), "same"),
    "emptied": (lambda tree: (tree / "bin" / "python").write_bytes(b""), "same"),
    "gone": (lambda tree: (tree / "empty").unlink(), "empty"),
    "added": (lambda tree: (tree / "sitecustomize.py").write_text("evil"), "sitecustomize.py"),
    "another mode": (lambda tree: (tree / "empty").chmod(0o777), "empty"),
    "another target": (
        lambda tree: ((tree / "link").unlink(), (tree / "link").symlink_to("/etc/passwd")),
        "link",
    ),
    "a file for a directory": (
        lambda tree: (shutil.rmtree(tree / "bin"), (tree / "bin").write_bytes(b"")),
        "bin",
    ),
    "everything": (shutil.rmtree, "No such file"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_noticed_named_and_removed(
    store: Store, place: Path, case: str, warnings: list[str]
) -> None:
    damage, what = DAMAGE[case]
    damage(place / "tree")

    assert checked_directory(_again(store), place) is None
    (warning,) = warnings
    assert ("tools-v2/demo (" in warning, what in warning, place.exists()) == (True, True, False)


@pytest.mark.parametrize("name", ["list", "about"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100])
def test_a_damaged_list_is_damage(store: Store, place: Path, name: str, content: bytes) -> None:
    (place / name).write_bytes(content)

    assert (None, False) == (checked_directory(_again(store), place), place.exists())


def test_what_was_removed_halfway_is_not_there(store: Store, place: Path) -> None:
    """Where a directory cannot be moved away, the files that say that it is whole go first."""
    (place / "about").unlink()

    assert (False, None) == (has_directory(store, place), checked_directory(_again(store), place))
    make_directory(store, place, _fill)
    assert has_directory(store, place)


def test_a_process_checks_once(store: Store, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again = _again(store)
    assert checked_directory(again, place) is not None
    monkeypatch.setattr(kept, "difference", lambda *_: pytest.fail("checked twice"))

    assert {"commit": "abc"} == checked_directory(again, place)


def test_after_the_machine_was_started_anew_it_is_checked_once(
    store: Store, place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, warnings: list[str]
) -> None:
    """Power was lost: the names of files are on the disk, their content is not."""
    (tmp_path / "boot").write_text("another boot\n")
    (place / "tree" / "bin" / "python").write_bytes(b"")
    assert has_directory(store, place)
    monkeypatch.setattr(kept, "_BOOT", tmp_path / "boot")

    assert (False, 1) == (has_directory(_again(store), place), len(warnings))


def test_what_survived_a_start_is_not_checked_again(
    store: Store, place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "boot").write_text("another boot\n")
    monkeypatch.setattr(kept, "_BOOT", tmp_path / "boot")
    assert has_directory(_again(store), place)
    monkeypatch.setattr(kept, "difference", lambda *_: pytest.fail("checked twice"))

    assert has_directory(_again(store), place)


def test_a_failure_leaves_nothing(store: Store) -> None:
    def fail(tree: Path) -> None:
        (tree / "file").write_bytes(b"half")
        raise MachineError("no", code="test")

    with pytest.raises(MachineError, match="no"):
        make_directory(store, store.tools / "demo", fail)

    assert ([], []) == (list(store.tools.iterdir()), list(store.tmp.iterdir()))


def test_who_is_slower_uses_what_is_there(store: Store, place: Path) -> None:
    """Without locks two processes may make the same; nobody loses files that are in use."""
    before = (place / "tree" / "bin" / "python").stat().st_ino

    make_directory(_again(store), place, _fill)

    assert before == (place / "tree" / "bin" / "python").stat().st_ino
    assert [] == list(store.tmp.iterdir())


def test_what_is_not_whole_is_replaced(store: Store) -> None:
    place = store.tools / "demo"
    (place / "tree").mkdir(parents=True)
    (place / "tree" / "half").write_bytes(b"")

    make_directory(store, place, _fill)

    assert checked_directory(_again(store), place) == {"commit": "abc"}


def test_extended_attributes_that_overlayfs_reads_belong_to_it(store: Store) -> None:
    place = store.tools / "demo"
    make_directory(store, place, lambda tree: (tree / "hidden").mkdir())
    try:
        os.setxattr(place / "tree" / "hidden", b"user.overlay.opaque", b"y")
    except OSError:
        pytest.skip("this file system has no extended attributes")

    assert checked_directory(_again(store), place) is None
