"""Which notebooks the user means."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.errors import UsageError
from envbuild.notebook.select import select_notebooks
from envbuild.source import Repo, open_repo

_FILES = """
    index.ipynb index.executed.ipynb maps/plot.ipynb maps/area.ipynb maps/deep/x.ipynb maps/note.txt
    out/index.ipynb .ipynb_checkpoints/index.ipynb maps[1]/odd.ipynb
"""
ALL = ("index.ipynb", "maps/area.ipynb", "maps/deep/x.ipynb", "maps/plot.ipynb", "maps[1]/odd.ipynb")


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    for name in _FILES.split():
        path = tmp_path / "repo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "outside.ipynb").touch()
    return open_repo(str(tmp_path / "repo"))


@pytest.mark.parametrize("given", ["maps/plot.ipynb", "./maps/plot.ipynb", "repo/maps/plot.ipynb"])
def test_relative_to_the_repository_or_to_here(repo: Repo, tmp_path: Path, given: str) -> None:
    assert ("maps/plot.ipynb",) == select_notebooks(repo, [given], tmp_path)


def test_from_a_directory_of_the_repository(repo: Repo) -> None:
    assert ("maps/plot.ipynb",) == select_notebooks(repo, ["plot.ipynb"], repo.root / "maps")


def test_absolute(repo: Repo, tmp_path: Path) -> None:
    assert ("maps/plot.ipynb",) == select_notebooks(repo, [str(repo.root / "maps/plot.ipynb")], tmp_path)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ALL),
        (["."], ALL),
        (["maps"], ("maps/area.ipynb", "maps/deep/x.ipynb", "maps/plot.ipynb")),
        (["maps/*.ipynb"], ("maps/area.ipynb", "maps/plot.ipynb")),
        (["*.ipynb"], ("index.ipynb",)),
        (["**/*.ipynb"], ALL),
        (["maps[1]/odd.ipynb"], ("maps[1]/odd.ipynb",)),
        (["index.executed.ipynb"], ("index.executed.ipynb",)),
        (["maps/plot.ipynb", "maps", "maps/./plot.ipynb"], ("maps/plot.ipynb", *ALL[1:3])),
    ],
)
def test_directories_and_patterns(repo: Repo, given: list[str], expected: tuple[str, ...]) -> None:
    """In the order they are named, each once; what was executed is only meant when it is named."""
    assert expected == select_notebooks(repo, given, repo.root, repo.root / "out")


def test_a_pattern_from_where_the_user_is(repo: Repo) -> None:
    assert ("maps[1]/odd.ipynb",) == select_notebooks(repo, ["o*.ipynb"], repo.root / "maps[1]")


@pytest.mark.parametrize(
    "given",
    ["missing.ipynb", "../outside.ipynb", "outside.ipynb", "/etc/passwd", "no*.ipynb", "../*.ipynb", "{x}"],
)
def test_nothing_outside_of_the_repository(repo: Repo, tmp_path: Path, given: str) -> None:
    with pytest.raises(UsageError) as caught:
        select_notebooks(repo, [given], tmp_path)

    assert "no-such-notebook" == caught.value.code


def test_a_repository_without_notebooks(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        select_notebooks(Repo(tmp_path), [], tmp_path)

    assert "no-such-notebook" == caught.value.code


def test_an_executed_copy_is_no_notebook_wherever_it_was_put(repo: Repo) -> None:
    """``run -o results`` and later ``run -o out``, or any other command; unless it is named."""
    copy = repo.root / "results" / "index.ipynb"
    copy.parent.mkdir()
    # With what Python writes and JSON does not have, as outputs may.
    copy.write_text(
        '{"nbformat": 4, "metadata": {"envbuild": {"notebook": "index.ipynb"}},'
        ' "cells": [{"cell_type": "code", "outputs": [NaN]}]}'
    )
    own = repo.root / "maps" / "plot.ipynb"
    own.write_text('{"nbformat": 4, "metadata": {"envbuild": {"notebook": "maps/plot.ipynb"}}}')
    moved = repo.root / "maps" / "area.ipynb"
    moved.write_text('{"nbformat": 4, "metadata": {"envbuild": {"notebook": "another/place.ipynb"}}}')

    assert ALL == select_notebooks(repo, [], repo.root, repo.root / "out")
    assert ("results/index.ipynb",) == select_notebooks(repo, ["results/index.ipynb"], repo.root)


@pytest.mark.parametrize("content", [b'{"metadata": {"\xff": 1}}', b"[" * 100_000, b"\0"])
def test_what_cannot_be_read_is_chosen_and_refused_later(repo: Repo, content: bytes) -> None:
    (repo.root / "index.ipynb").write_bytes(content)

    assert ALL == select_notebooks(repo, [], repo.root, repo.root / "out")
