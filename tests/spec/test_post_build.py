"""Which scripts run at the end of a build, with what, and which cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.errors import RepoError
from envbuild.source import open_repo
from envbuild.spec import SpecOptions, read_spec
from envbuild.spec.model import Execution
from envbuild.spec.post_build import script_interpreter

BASH = ("/usr/bin/env", "bash")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"echo hello\n", BASH),
        (b"", BASH),
        (b"#!/bin/sh\n", ("/bin/sh",)),
        (b"#!/bin/bash -eu\necho\n", ("/bin/bash", "-eu")),
        (b"#! /usr/bin/env  python3 \n", ("/usr/bin/env", "python3")),
        # One argument, as the kernel passes it.
        (b"#!/usr/bin/env -S bash -e\n", ("/usr/bin/env", "-S bash -e")),
        (b"#!/bin/sh", ("/bin/sh",)),
    ],
)
def test_interpreter(tmp_path: Path, content: bytes, expected: tuple[str, ...]) -> None:
    (tmp_path / "postBuild").write_bytes(content)
    assert script_interpreter(open_repo(str(tmp_path)), "postBuild") == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"#!/bin/bash\r\necho\r\n", "Windows line ends"),
        (b"echo\r\n", "Windows line ends"),
        (b"\xef\xbb\xbf#!/bin/bash\n", "byte order mark"),
        (b"\x7fELF\0\0", "binary"),
        (b"#!bash\n", "full path"),
        (b"#!\n", "full path"),
        (b"#!/bin/" + b"x" * 300 + b"\n", "full path"),
        (b"#!/bin/\xff\n", "not UTF-8"),
    ],
)
def test_scripts_that_cannot_run(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "postBuild").write_bytes(content)
    with pytest.raises(RepoError, match=message) as caught:
        script_interpreter(open_repo(str(tmp_path)), "postBuild")
    assert (caught.value.file, caught.value.line) == ("postBuild", 1)


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=40).map(lambda rest: b"#!" + rest) | st.binary(max_size=40))
def test_whatever_a_script_begins_with_is_an_interpreter_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    directory = tmp_path_factory.mktemp("fuzz")
    (directory / "postBuild").write_bytes(content)
    try:
        found = script_interpreter(open_repo(str(directory)), "postBuild")
    except RepoError:
        return
    assert found[0].startswith("/")
    assert len(found) <= 2
    assert not any("\0" in word or "\n" in word for word in found)


def test_it_counts_where_the_other_files_count(tmp_path: Path) -> None:
    (tmp_path / "binder").mkdir()
    for name in ("binder/postBuild", "postBuild"):
        (tmp_path / name).write_text("echo\n")
    spec = read_spec(open_repo(str(tmp_path)))
    assert spec.post_build == "binder/postBuild"
    assert {(file.path, file.used) for file in spec.files} == {
        ("binder/postBuild", True),
        ("postBuild", False),
    }


@pytest.mark.parametrize("network", [True, False])
def test_what_will_run_is_said_with_its_network(tmp_path: Path, network: bool) -> None:
    (tmp_path / "postBuild").write_text("echo\n")
    spec = read_spec(open_repo(str(tmp_path)), SpecOptions(network=("postBuild",) if network else ()))
    (execution,) = spec.executions
    assert execution == Execution("postBuild", execution.why, "build", "postBuild", network=network)


def test_one_that_cannot_run_is_an_error_of_the_repository(tmp_path: Path) -> None:
    (tmp_path / "postBuild").write_bytes(b"echo\r\n")
    spec = read_spec(open_repo(str(tmp_path)))
    assert (spec.post_build, spec.executions) == (None, ())
    assert [problem.code for problem in spec.problems if problem.level == "error"] == ["bad-script"]


def test_a_link_out_of_the_repository_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    (tmp_path / "outside").write_text("echo\n")
    (tmp_path / "repository/postBuild").symlink_to("../outside")
    spec = read_spec(open_repo(str(tmp_path / "repository")))
    assert spec.post_build is None
    assert "outside-repository" in {problem.code for problem in spec.problems}
