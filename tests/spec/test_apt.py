from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envbuild.source import Repo
from envbuild.spec import Spec
from envbuild.spec.apt import read_apt
from envbuild.spec.findings import Findings
from envbuild.spec.model import AptPackage

SpecOf = Callable[[Mapping[str, str | bytes]], Spec]
MakeRepo = Callable[[Mapping[str, str | bytes]], Repo]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("git\ngraphviz\n", ["git", "graphviz"]),
        ("git graphviz\tffmpeg", ["git", "graphviz", "ffmpeg"]),
        ("# tools\n\ngit # version control\n  \n", ["git"]),
        ("git\r\ngraphviz\r\n", ["git", "graphviz"]),
        (b"\xef\xbb\xbfgit\n", ["git"]),
        ("g++ libstdc++6 python3.11 7zip", ["g++", "libstdc++6", "python3.11", "7zip"]),
        ("", []),
        ("# nothing but a comment", []),
    ],
)
def test_names(spec_of: SpecOf, content: str | bytes, names: list[str]) -> None:
    spec = spec_of({"apt.txt": content, "requirements.txt": ""})

    assert names == [package.name for package in spec.apt]
    assert [] == [problem for problem in spec.problems if problem.level == "error"]


def test_versions_and_lines(spec_of: SpecOf) -> None:
    spec = spec_of({"binder/apt.txt": "git=1:2.39.5-0+deb12u2\n\njq=1.6-2.1\n"})

    assert (
        AptPackage("git", "binder/apt.txt", 1, "1:2.39.5-0+deb12u2"),
        AptPackage("jq", "binder/apt.txt", 3, "1.6-2.1"),
    ) == spec.apt


def test_what_will_run_is_said(spec_of: SpecOf) -> None:
    (execution,) = spec_of({"apt.txt": "# two\ngit jq\n"}).executions

    assert "maintainer scripts of 2 Debian packages and what they need" == execution.what
    assert ("build", "apt.txt", 2, False) == (
        execution.when,
        execution.file,
        execution.line,
        execution.network,
    )


def test_nothing_runs_for_an_empty_file(spec_of: SpecOf) -> None:
    assert () == spec_of({"apt.txt": "# later\n"}).executions


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("-oDebug=1", "is an option"),
        ("--allow-unauthenticated", "is an option"),
        ("git;", "is not the name"),
        ("$(id)", "is not the name"),
        ("/tmp/evil.deb", "is not the name"),
        ("./evil.deb", "is not the name"),
        ("git/bookworm-backports", "is not the name"),
        ("Git", "is not the name"),
        ("a", "is not the name"),
        ("lib*", "is not the name"),
        ("git=", "is not the name"),
        ("git=;id", "is not the name"),
        ("git=1.*", "is not the name"),
        ("task^", "is not the name"),
        ("libc6:i386", "names an architecture"),
        ("é", "is not the name"),
        ("a" * 300, "is not the name"),
        ("<<<<<<<", "is not the name"),
    ],
)
def test_everything_else_is_refused_with_its_line(spec_of: SpecOf, word: str, reason: str) -> None:
    spec = spec_of({"apt.txt": f"git\njq {word} curl\n", "requirements.txt": ""})

    (problem,) = [problem for problem in spec.problems if problem.level == "error"]
    assert ("bad-apt", "apt.txt", 2) == (problem.code, problem.file, problem.line)
    assert reason in problem.message
    assert ["git", "jq", "curl"] == [package.name for package in spec.apt]


def test_injection_is_several_mistakes(spec_of: SpecOf) -> None:
    spec = spec_of({"apt.txt": "git; touch /x\n", "requirements.txt": ""})

    assert ["'/x'", "'git;'"] == sorted(
        problem.message.partition(" ")[0] for problem in spec.problems if problem.level == "error"
    )


@pytest.mark.parametrize(
    ("content", "line"), [(b"git\n\xe9t\xe9\n", 2), (b"git\0\n", None), (b"\xff\xfeg\0i\0t\0", None)]
)
def test_other_encodings_are_refused(spec_of: SpecOf, content: bytes, line: int | None) -> None:
    spec = spec_of({"apt.txt": content, "requirements.txt": ""})

    (problem,) = [problem for problem in spec.problems if problem.level == "error"]
    assert ("bad-encoding", "apt.txt", line) == (problem.code, problem.file, problem.line)


def test_a_package_twice_is_noted_and_counts_once(spec_of: SpecOf) -> None:
    spec = spec_of({"apt.txt": "git\njq\ngit\n", "requirements.txt": "six\n"})

    assert ["git", "jq"] == [package.name for package in spec.apt]
    assert [("note", "git is named in line 1 already", 3)] == [
        (problem.level, problem.message, problem.line) for problem in spec.problems
    ]


def test_two_versions_of_a_package_are_refused(spec_of: SpecOf) -> None:
    spec = spec_of({"apt.txt": "jq=1.6\njq=1.7\n", "requirements.txt": "six\n"})

    assert [("error", "jq is asked for in another version than in line 1", 2)] == [
        (problem.level, problem.message, problem.line) for problem in spec.problems
    ]


def test_too_large_and_too_many(spec_of: SpecOf) -> None:
    many = " ".join(f"package{number}" for number in range(2001))

    assert ["bad-apt"] == [problem.code for problem in spec_of({"apt.txt": many}).problems if problem.file]
    (problem,) = [one for one in spec_of({"apt.txt": "a" * (2 << 20)}).problems if one.file]
    assert ("error", "apt.txt") == (problem.level, problem.file)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(st.binary(max_size=80), st.text(max_size=60).map(str.encode)))
def test_whatever_is_in_the_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.mktemp("repo")
    (root / "apt.txt").write_bytes(content)

    packages = read_apt(Repo(root), "apt.txt", Findings())

    assert all(re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package.name) for package in packages)
    assert len({package.name for package in packages}) == len(packages)
