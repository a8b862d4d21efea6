"""Which notebook the user means."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.errors import UsageError
from envbuild.notebook.select import select_notebook
from envbuild.source import Repo, open_repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    (tmp_path / "repo" / "maps").mkdir(parents=True)
    (tmp_path / "repo" / "maps" / "plot.ipynb").touch()
    (tmp_path / "outside.ipynb").touch()
    return open_repo(str(tmp_path / "repo"))


@pytest.mark.parametrize("given", ["maps/plot.ipynb", "./maps/plot.ipynb", "repo/maps/plot.ipynb"])
def test_relative_to_the_repository_or_to_here(repo: Repo, tmp_path: Path, given: str) -> None:
    assert "maps/plot.ipynb" == select_notebook(repo, given, tmp_path)


def test_from_a_directory_of_the_repository(repo: Repo) -> None:
    assert "maps/plot.ipynb" == select_notebook(repo, "plot.ipynb", repo.root / "maps")


def test_absolute(repo: Repo, tmp_path: Path) -> None:
    assert "maps/plot.ipynb" == select_notebook(repo, str(repo.root / "maps/plot.ipynb"), tmp_path)


@pytest.mark.parametrize("given", ["missing.ipynb", "../outside.ipynb", "outside.ipynb", "/etc/passwd", ""])
def test_nothing_outside_of_the_repository(repo: Repo, tmp_path: Path, given: str) -> None:
    with pytest.raises(UsageError) as caught:
        select_notebook(repo, given, tmp_path)

    assert "no-such-notebook" == caught.value.code
