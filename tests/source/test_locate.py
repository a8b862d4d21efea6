"""From what a user typed to a repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envbuild.errors import UsageError
from envbuild.source import Repo, open_repo


def test_opens_a_directory(tmp_path: Path) -> None:
    assert Repo(tmp_path.resolve()) == open_repo(str(tmp_path))


def test_root_is_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path through a symbolic link becomes the real, absolute one."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)

    assert (tmp_path / "real").resolve() == open_repo("link").root
    assert "real" == open_repo("link").name


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        open_repo("missing")

    assert "source-not-found" == caught.value.code


def test_a_file_is_not_a_repository(tmp_path: Path) -> None:
    (tmp_path / "notebook.ipynb").write_text("{}")
    with pytest.raises(UsageError) as caught:
        open_repo(str(tmp_path / "notebook.ipynb"))

    assert "source-not-a-directory" == caught.value.code


def test_a_fifo_and_a_link_loop_are_not_repositories(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("fifo", "loop"):
        with pytest.raises(UsageError):
            open_repo(str(tmp_path / name))


def test_a_directory_called_like_a_doi_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "10.5281" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    assert "data" == open_repo("10.5281/data").name
