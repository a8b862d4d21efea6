"""From what a step left to entries, on trees made by hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.pack.tar import Entry
from envbuild.sandbox.changes import find_changes
from envbuild.sandbox.files import Found, Lower, examine

Find = Callable[..., dict[str, Entry]]


def _write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("->"):
            (root / name).symlink_to(content[2:])
        elif content == "/":
            (root / name).mkdir(exist_ok=True)
        else:
            (root / name).write_text(content)


def _examined(root: Path) -> dict[bytes, Found]:
    found = {}
    for place in root.rglob("*"):
        what = examine(os.fsencode(place), place.lstat())
        assert what is not None
        found[os.fsencode(place.relative_to(root))] = what
    return found


@pytest.fixture
def find(tmp_path: Path) -> Find:
    """Finds the changes from one set of files to another."""

    def find(
        lower: dict[str, str], upper: dict[str, str], removed: set[bytes] = frozenset(), **more: object
    ) -> dict[str, Entry]:
        for name in ("lower", "upper"):
            (tmp_path / name).mkdir()
        _write(tmp_path / "lower", lower)
        _write(tmp_path / "upper", upper)
        replaced = more.pop("replaced", ())
        entries = find_changes(
            _examined(tmp_path / "upper"),
            removed,
            replaced,  # type: ignore[arg-type]
            Lower([tmp_path / "lower"]),
            **more,  # type: ignore[arg-type]
        )
        assert [entry.path for entry in entries] == sorted(entry.path for entry in entries)
        return {os.fsdecode(entry.path): entry for entry in entries}

    return find


def test_touched_is_not_changed(find: Find) -> None:
    same = {"etc/a": "1", "etc/link": "->a", "opt/dir": "/"}
    assert find(same, same) == {}


def test_owners_and_modes_go_by_place(find: Find) -> None:
    upper = {name + "/f": "" for name in ("etc/d", "srv/env/d", "srv/repo/d", "home/jovyan/d")}
    found = find({"etc": "/", "srv/env": "/", "srv/repo": "/", "home/jovyan": "/"}, upper)
    assert {path: (oct(entry.mode), entry.uid, entry.gid) for path, entry in found.items()} == {
        "etc/d": ("0o755", 0, 0),
        "etc/d/f": ("0o644", 0, 0),
        "home/jovyan/d": ("0o777", 1000, 100),
        "home/jovyan/d/f": ("0o666", 1000, 100),
        "srv/env/d": ("0o775", 1000, 0),
        "srv/env/d/f": ("0o644", 0, 0),
        "srv/repo/d": ("0o777", 1000, 100),
        "srv/repo/d/f": ("0o666", 1000, 100),
    }


def test_a_directory_in_the_repository_keeps_its_mode_when_something_in_it_changes(find: Find) -> None:
    found = find({"srv/repo/data/old": "1"}, {"srv/repo/data/new": "2"})
    assert oct(found["srv/repo/data"].mode) == "0o777"


def test_removals_are_of_what_was_there(find: Find) -> None:
    found = find({"etc/a": "1", "opt/b/c": "2"}, {}, {b"etc/a", b"etc/never", b"opt/b"})
    assert sorted(found) == ["etc/.wh.a", "opt/.wh.b"]


def test_a_directory_made_anew_loses_what_is_not_made_again(find: Find) -> None:
    found = find(
        {"d/same": "1", "d/gone": "2", "d/sub/gone": "3", "d/sub/same": "4"},
        {"d/same": "1", "d/new": "5", "d/sub/same": "4"},
        replaced={b"d"},
    )
    assert sorted(found) == ["d/.wh.gone", "d/new", "d/sub/.wh.gone"]


def test_what_belongs_to_a_run_is_not_captured(find: Find) -> None:
    upper = dict.fromkeys(
        ("tmp/a", "run/b", "var/log/apt/c", "home/jovyan/.cache/pip/d", "etc/resolv.conf", ".dockerenv"), "x"
    )
    found = find(
        {"var": "/", "home/jovyan": "/", "etc": "/", "var/lib/apt": "/"}, {**upper, "var/lib/apt/e": ""}
    )
    assert sorted(found) == ["var/lib/apt/e"]


def test_a_step_names_what_it_does_not_want_kept(find: Find) -> None:
    found = find({"var/lib": "/"}, {"var/lib/lists/a": "", "var/lib/b": ""}, ignored={b"var/lib/lists"})
    assert sorted(found) == ["var/lib/b"]


def test_mount_points_are_not_captured_nor_the_way_to_them(find: Find) -> None:
    found = find({}, {"mnt/deep/here": "/", "mnt/other": "kept"}, mounts={b"mnt/deep/here"})
    assert sorted(found) == ["mnt", "mnt/other"]


def test_names_that_mean_a_removal_cannot_be_made(find: Find) -> None:
    assert find({"etc/passwd": "x"}, {"etc/.wh.passwd": "", "etc/.wh..wh..opq": ""}) == {}


def test_an_empty_cache_of_bytecode_is_nothing(find: Find) -> None:
    assert find({"srv/env": "/"}, {"srv/env/__pycache__/a.cpython-311.pyc": "head\0\0\0\0rest"}) == {}
