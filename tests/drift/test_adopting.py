"""From a session to the files of a repository, and back when locking fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.drift.adopting import Adoption, others_locked, plan_adoption, refuse_nothing, written
from envbuild.drift.changes import Change, Origin
from envbuild.drift.declaring import advise, declaring_place
from envbuild.errors import RepoError, UsageError
from envbuild.source import open_repo
from envbuild.source.origin import Origin as Fetched
from envbuild.source.repo import Repo
from envbuild.spec import read_spec

SIX = Change("six", None, "1.17.0")
GONE = Change("pandas", "2.2", None)


def plan(directory: Path, *changes: Change, repo: Repo | None = None) -> Adoption:
    repo = repo or open_repo(str(directory))
    place = declaring_place(read_spec(repo), repo)
    return plan_adoption(advise(changes, place), repo, place)


def adopt(directory: Path, *changes: Change) -> Adoption:
    adoption = plan(directory, *changes)
    with written(adoption, open_repo(str(directory))):
        pass
    return adoption


def test_all_of_a_session_is_written_at_once(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("# mine\nnumpy>=2\npandas\n-r more.txt\n")
    (tmp_path / "more.txt").write_text("rich<14\n")
    file.chmod(0o640)

    adoption = adopt(tmp_path, SIX, GONE, Change("numpy", "2.1", "2.3"), Change("rich", "13.9", "14.1"))

    assert file.read_text() == "# mine\nnumpy>=2\n-r more.txt\nsix>=1.17.0\n"
    assert (tmp_path / "more.txt").read_text() == "rich>=14.1\n"
    assert [one.action for one in adoption.done] == ["add", "remove", "lock", "replace"]
    assert (adoption.left, file.stat().st_mode & 0o777) == ((), 0o640)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["more.txt", "requirements.txt"]


def test_a_repository_that_declares_nothing_gets_a_file_with_all_that_was_inferred(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text(
        '{"cells": [{"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": null,'
        ' "source": "import numpy, six"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    )
    adopt(tmp_path, SIX)
    assert (tmp_path / "requirements.txt").read_text() == "numpy\nsix>=1.17.0\n"


def test_what_failed_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    adoption = plan(tmp_path, SIX)
    with pytest.raises(KeyboardInterrupt), written(adoption, open_repo(str(tmp_path))):
        assert (tmp_path / "requirements.txt").read_text() == "numpy\nsix>=1.17.0\n"
        raise KeyboardInterrupt
    assert (tmp_path / "requirements.txt").read_text() == "numpy\n"


def test_a_new_file_is_gone_when_locking_fails(tmp_path: Path) -> None:
    adoption = plan(tmp_path, SIX)
    with pytest.raises(RepoError), written(adoption, open_repo(str(tmp_path))):
        raise RepoError("no", code="no-such-package")
    assert list(tmp_path.iterdir()) == []


def test_what_is_behind_a_link_is_left(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("numpy\n")
    (tmp_path / "requirements.txt").symlink_to("real.txt")
    adoption = plan(tmp_path, SIX)
    assert (adoption.files, len(adoption.left)) == ((), 1)


def test_what_another_tool_has_locked_is_left_to_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "a"\nversion = "1"\ndependencies = []\n')
    (tmp_path / "uv.lock").write_text('version = 1\nrequires-python = ">=3.12"\n')
    adoption = plan(tmp_path, SIX)
    with pytest.raises(RepoError) as caught:
        refuse_nothing(adoption)
    assert (caught.value.code, caught.value.remedy) == (
        "session-not-adoptable",
        'to keep it, run `uv add "six>=1.17.0"`',
    )


def test_what_cannot_be_declared_does_not_keep_the_rest_from_it(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("")
    elsewhere = Change("rich", None, "1", origin=Origin("directory", "/"))
    adoption = adopt(tmp_path, elsewhere, SIX)
    assert [one.change.name for one in adoption.left] == ["rich"]
    assert (tmp_path / "requirements.txt").read_text() == "six==1.17.0\n"


def test_what_was_locked_otherwise_than_it_was_tried_is_told(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("")
    torch = Change("torch", None, "2.5.0+cpu")
    adoption = adopt(tmp_path, SIX, torch, Change("rich", None, "14.0"))
    targets = [{"six": "1.17.0", "torch": "2.5.0", "rich": "14.1"}, {"six": "1.17.0", "torch": "2.5.0"}]
    assert list(others_locked(adoption, targets)) == [("rich", "14.0", "14.1, nothing")]


def test_a_fetched_repository_is_not_ours_to_change(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("")
    fetched = Repo(tmp_path, Fetched("https://example.org/a.git", "0" * 40, "a"))
    with pytest.raises(UsageError) as caught:
        plan(tmp_path, SIX, repo=fetched)
    assert caught.value.code == "source-not-ours"


def test_what_is_written_is_what_is_read_back(tmp_path: Path) -> None:
    """The line of every kind of file asks for the package when envbuild reads the file again."""
    files = {
        "requirements.txt": "",
        "pyproject.toml": '[project]\nname = "a"\nversion = "1"\ndependencies = []\n',
        "Pipfile": "[packages]\n",
        "environment.yml": "channels: [nodefaults, conda-forge]\ndependencies:\n  - python=3.13\n",
        "pixi.toml": '[workspace]\nchannels = ["conda-forge"]\n[dependencies]\npython = "3.13.*"\n',
    }
    asked = {}
    for name, content in files.items():
        directory = tmp_path / name
        directory.mkdir()
        (directory / name).write_text(content)
        adopt(directory, SIX)
        spec = read_spec(open_repo(str(directory)))
        asked[name] = [one.text for one in spec.requirements]
    poetry = tmp_path / "poetry"
    poetry.mkdir()
    (poetry / "pyproject.toml").write_text('[tool.poetry]\nname = "a"\n[tool.poetry.dependencies]\n')
    adopt(poetry, SIX)
    asked["poetry"] = [one.text for one in read_spec(open_repo(str(poetry))).requirements]
    assert asked == {
        "requirements.txt": ["six==1.17.0"],
        "pyproject.toml": ["six>=1.17.0"],
        "Pipfile": ["six>=1.17.0"],
        "environment.yml": ["six==1.17.0"],
        "pixi.toml": ["six>=1.17.0"],
        "poetry": ["six<2,>=1.17.0"],
    }
