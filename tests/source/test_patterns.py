"""Patterns of ignore files, compared with git itself and with Docker's documented examples."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from envbuild.source.ignore import DockerIgnore, GitIgnore
from envbuild.source.patterns import docker_patterns, git_pattern, setting_pattern
from envbuild.source.repo import Repo
from tests.support.git import GIT_ENVIRONMENT


def docker_ignores(patterns: str, path: str) -> bool:
    found = [pattern for line in patterns.splitlines() for pattern in docker_patterns(line)]
    return DockerIgnore(".dockerignore", tuple(found)).ignores(path.encode())


@pytest.mark.parametrize(
    ("patterns", "ignored", "kept"),
    [
        # https://docs.docker.com/build/concepts/context/#dockerignore-files
        ("# comment", (), ("comment", "# comment")),
        ("*/temp*", ("somedir/temporary.txt", "somedir/temp", "somedir/temp/a"), ("temp", "a/b/temp")),
        ("*/*/temp*", ("somedir/subdir/temporary.txt",), ("somedir/temp",)),
        ("temp?", ("tempa", "tempb"), ("temp", "tempab", "a/tempa")),
        ("**/*.go", ("a.go", "a/b/c.go"), ("a.goo",)),
        ("/foo/bar", ("foo/bar", "foo/bar/x"), ("a/foo/bar",)),
        ("foo/bar", ("foo/bar",), ("a/foo/bar",)),
        ("*.md\n!README.md", ("a.md",), ("README.md", "a/b.md")),
        ("*.md\n!README*.md\nREADME-secret.md", ("README-secret.md", "a.md"), ("README-x.md",)),
        ("*.md\nREADME-secret.md\n!README*.md", ("a.md",), ("README-secret.md", "README.md")),
        ("data\n!data/keep.csv", ("data/a.csv",), ("data/keep.csv",)),
        ("  spaced  \n!  spaced/a ", ("spaced/b",), ("spaced/a",)),
        ("a/../b//c/.", ("b/c",), ("a/b/c",)),
        ("a**b", ("ab", "ax/b", "a/b", "ax/y/b"), ("axb", "ab/c/d"[:1])),
        ("**", ("a", "a/b"), ()),
        ("docs/**", ("docs/a", "docs/a/b"), ("a",)),
        ("[a-c].txt", ("a.txt",), ("d.txt",)),
        ("[^a].txt", ("b.txt",), ("a.txt",)),
        ("a\\*b", ("a*b",), ("axb",)),
        ("é?", ("éx",), ("é",)),
        ("(a|b).txt", ("(a|b).txt",), ("a.txt",)),
    ],
)
def test_docker(patterns: str, ignored: tuple[str, ...], kept: tuple[str, ...]) -> None:
    assert [] == [path for path in ignored if not docker_ignores(patterns, path)]
    assert [] == [path for path in kept if docker_ignores(patterns, path)]


@pytest.mark.parametrize("line", ["!", "[a", "a\\", "a" * 2000, "**a" * 20])
def test_what_docker_refuses(line: str) -> None:
    with pytest.raises(ValueError):
        docker_patterns(line)


@pytest.mark.parametrize("text", ["", "!a", "#a", "/", "[a"])
def test_what_is_no_setting(text: str) -> None:
    with pytest.raises(ValueError):
        setting_pattern(text)


def test_hostile_patterns_take_no_time() -> None:
    """With expressions that go back and try again, each of these would take longer than the universe has."""
    path = ("a" * 250,) * 20
    for text in ("*a" * 400 + "b", "**/" * 300 + "b", "[a]*" * 200 + "b", "?*" * 300 + "b"):
        pattern = git_pattern(text)
        assert pattern is not None
        assert not pattern.matches(path)


_NAMES = st.text("ab.*[]!\\-?# ", min_size=1, max_size=4).filter(lambda name: name not in (".", ".."))
_LINES = st.lists(
    st.one_of(
        st.text("ab*?/!\\[]-^.# ", min_size=1, max_size=8),
        st.sampled_from(
            [
                "*.b",
                "/a",
                "a/",
                "**/b",
                "a/**",
                "a/**/b",
                "!a",
                "!a/b",
                "\\#a",
                "\\!a",
                "a\\ ",
                "[[:alpha:]]",
                "[!a]",
            ]
        ),
    ),
    max_size=5,
)


@given(
    root=_LINES,
    inner=_LINES,
    paths=st.lists(st.lists(_NAMES, min_size=1, max_size=3), min_size=1, max_size=6),
)
@example(root=["[?/]", "[b/]/c"], inner=["d[/"], paths=[["?"], ["b", "c"], ["a", "d"]])
@example(root=["a\\/b", "c[!/]d", "[f-e]"], inner=[], paths=[["a", "b"], ["c", "d"], ["ced"], ["e"], ["f"]])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_git_agrees(
    tmp_path_factory: pytest.TempPathFactory, root: list[str], inner: list[str], paths: list[list[str]]
) -> None:
    """``git check-ignore`` and we say the same about every file and directory."""
    directory = tmp_path_factory.mktemp("repo")
    subprocess.run(["git", "init", "-q"], cwd=directory, env=GIT_ENVIRONMENT, check=True)
    (directory / "a").mkdir()
    (directory / ".gitignore").write_text("\n".join(root) + "\n")
    (directory / "a" / ".gitignore").write_text("\n".join(inner) + "\n")
    for parts in paths:
        path = directory.joinpath(*parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError:
            continue
    repo = Repo(directory.resolve())
    files = [file for file in repo.files() if not file.path.endswith(b".gitignore")]
    ours = GitIgnore.read(repo, repo.files())

    said = {file.path for file in files if ours is not None and ours.ignores(file)}

    asked = b"\0".join(file.path for file in files)
    done = subprocess.run(
        ["git", "check-ignore", "-z", "--stdin"],
        input=asked,
        cwd=directory,
        env=GIT_ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    assert {path.rstrip(b"/") for path in done.stdout.split(b"\0") if path} == said


def test_tracked_files_are_not_ignored(tmp_path: Path) -> None:
    """In every form of index that git writes."""
    from envbuild.source.git_index import tracked_files

    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", *arguments], cwd=tmp_path, env=GIT_ENVIRONMENT, check=True, capture_output=True
        )

    names = {
        b"a.txt",
        b"b/c d.txt",
        "b/é.txt".encode(),
        b"b/" + b"n" * 200,
        *(b"d/%d" % n for n in range(20)),
    }
    for name in names:
        path = tmp_path / name.decode()
        path.parent.mkdir(exist_ok=True)
        path.touch()
    git("init", "-q")
    repo = Repo(tmp_path.resolve())
    assert tracked_files(repo) is None
    git("add", ".")
    for version in ("2", "3", "4"):
        git("update-index", f"--index-version={version}", "--force-write-index")
        assert names == tracked_files(repo), version
    git("update-index", "--skip-worktree", "a.txt")
    assert names == tracked_files(repo)
    git("update-index", "--split-index")
    assert tracked_files(repo) is None


@given(data=st.binary(max_size=300), version=st.integers(0, 5), count=st.integers(0, 3))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_index_is_read_or_not(tmp_path: Path, data: bytes, version: int, count: int) -> None:
    from envbuild.source.git_index import tracked_files

    (tmp_path / ".git").mkdir(exist_ok=True)
    (tmp_path / ".git" / "index").write_bytes(
        b"DIRC" + version.to_bytes(4, "big") + count.to_bytes(4, "big") + data
    )

    found = tracked_files(Repo(tmp_path.resolve()))

    assert found is None or len(found) <= 3
