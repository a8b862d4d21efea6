"""Where a kernel starts, by where its notebook is."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.launch.place import find_place


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for directory in ("home/me/repository/a b", "home/me/other", "elsewhere"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "elsewhere" / "link").symlink_to(tmp_path / "home/me/repository")
    return tmp_path / "home" / "me"


@pytest.mark.parametrize(
    ("directory", "workdir", "mounted"),
    [
        ("home/me/repository", "/srv/repo", None),
        ("home/me/repository/a b", "/srv/repo/a b", None),
        ("elsewhere/link/a b", "/srv/repo/a b", None),
        ("home/me/other", "/srv/notebooks", "home/me/other"),
        ("elsewhere", "/srv/notebooks", "elsewhere"),
    ],
)
def test_the_working_directory_is_the_notebooks(
    tmp_path: Path, home: Path, directory: str, workdir: str, mounted: str | None
) -> None:
    place = find_place(tmp_path / directory, home / "repository", home)

    assert (workdir, None) == (place.workdir, place.note)
    assert [("/srv/repo", True), *([("/srv/notebooks", True)] if mounted else [])] == [
        (mount.target, mount.writable) for mount in place.mounts
    ]
    assert mounted is None or tmp_path / mounted == place.mounts[-1].source


@pytest.mark.parametrize("directory", ["home/me", "home", "/", None])
def test_the_home_directory_is_not_shown(tmp_path: Path, home: Path, directory: str | None) -> None:
    """What runs in the image may be a stranger's; with the home it would see keys and passwords."""
    place = find_place(tmp_path / directory if directory else None, home / "repository", home)

    assert ("/srv/repo", ["/srv/repo"]) == (place.workdir, [mount.target for mount in place.mounts])
    assert place.note is not None
