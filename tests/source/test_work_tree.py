"""Which commit a directory is from, told without running anything of the repository's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from envbuild.source import Origin, Repo
from envbuild.source.work_tree import SourceState, source_state

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


def git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=directory, env=ENVIRONMENT, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with a commit of two files."""
    made = tmp_path / "tree"
    (made / "sub").mkdir(parents=True)
    git(made, "init", "-q")
    (made / "a.ipynb").write_text("a")
    (made / "sub/b.ipynb").write_text("b")
    git(made, "add", ".")
    git(made, "commit", "-qm", "one")
    return made


def state(directory: Path) -> SourceState:
    return source_state(Repo(directory), ENVIRONMENT)


def test_a_clean_tree(tree: Path) -> None:
    assert SourceState(git(tree, "rev-parse", "HEAD"), False) == state(tree)


def test_a_changed_file_is_dirty_and_a_new_one_is_not(tree: Path) -> None:
    (tree / "a.executed.ipynb").write_text("new")
    assert state(tree).dirty is False
    (tree / "a.ipynb").write_text("changed")
    assert state(tree).dirty is True


def test_only_the_directory_counts(tree: Path) -> None:
    (tree / "a.ipynb").write_text("changed")

    assert SourceState(git(tree, "rev-parse", "HEAD"), False) == state(tree / "sub")


@pytest.mark.parametrize("how", ["detached", "packed", "sha256", "linked"])
def test_forms_of_repositories(tree: Path, tmp_path: Path, how: str) -> None:
    if how == "detached":
        git(tree, "checkout", "-q", "--detach")
    elif how == "packed":
        git(tree, "pack-refs", "--all")
        git(tree, "gc", "-q")
    elif how == "sha256":
        tree = tmp_path / "other"
        tree.mkdir()
        git(tree, "init", "-q", "--object-format=sha256")
        (tree / "a").write_text("a")
        git(tree, "add", ".")
        git(tree, "commit", "-qm", "one")
    else:
        git(tree, "worktree", "add", "-q", str(tmp_path / "linked"))
        tree = tmp_path / "linked"

    assert SourceState(git(tree, "rev-parse", "HEAD"), False) == state(tree)


def test_without_git_the_commit_is_known(tree: Path) -> None:
    found = source_state(Repo(tree), {"PATH": "/nowhere"})

    assert SourceState(git(tree, "rev-parse", "HEAD"), None) == found


def test_no_repository(tmp_path: Path) -> None:
    assert SourceState() == state(tmp_path)


def test_no_commit_yet(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")

    assert SourceState() == state(tmp_path)


def test_a_directory_that_git_ignores_is_from_no_commit(tree: Path) -> None:
    (tree / "build").mkdir()
    (tree / "build/c.ipynb").write_text("c")

    assert SourceState() == state(tree / "build")


def test_what_was_fetched_is_from_its_revision(tmp_path: Path) -> None:
    commit = Repo(tmp_path, Origin("https://example.org/r.git", "c" * 40, "r"))
    archive = Repo(tmp_path, Origin("https://example.org/r.zip", "sha256:" + "c" * 64, "r"))

    assert [SourceState("c" * 40), SourceState()] == [
        source_state(repo, ENVIRONMENT) for repo in (commit, archive)
    ]


def test_nothing_of_the_repository_runs(tree: Path, tmp_path: Path) -> None:
    """Neither filters, nor monitors, nor hooks, nor what a submodule's configuration names."""
    told = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho $0 >> {told}\ncat\n")
    program.chmod(0o755)
    for name in ("core.fsmonitor", "filter.evil.clean", "filter.evil.smudge", "filter.evil.process"):
        git(tree, "config", name, str(program))
    git(tree, "config", "core.hooksPath", str(tmp_path))
    (tree / ".gitattributes").write_text("* filter=evil\n")
    (tree / "a.ipynb").write_text("b")

    assert state(tree).dirty is True
    assert not told.exists()


@pytest.mark.parametrize(
    "head", ["ref: ../../../secret\n", "ref: refs/heads/../../../../secret\n", "x" * 70000, "", "ref: \n"]
)
def test_a_head_that_leads_elsewhere_is_none(tree: Path, tmp_path: Path, head: str) -> None:
    (tmp_path / "secret").write_text("5" * 40)
    (tree / ".git/HEAD").write_text(head)

    assert SourceState() == state(tree)


def test_a_git_directory_that_does_not_know_the_tree_is_not_followed(tree: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / ".git").write_text(f"gitdir: {tree}/.git\n")

    assert SourceState() == state(stranger)


def test_a_link_to_a_git_directory_is_not_followed(tree: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / ".git").symlink_to(tree / ".git")

    assert SourceState() == state(stranger)
