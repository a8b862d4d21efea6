"""Argument by argument: what repo2docker's own parser takes, ours takes, and makes the same of it."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from envbuild.binder.arguments import Run, argument_parser, read_arguments
from envbuild.binder.table import ARGUMENTS, Argument
from envbuild.errors import UsageError

# A parser of theirs is all that is wanted; what they import is their business.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from repo2docker.__main__ import get_argparser

_ROOT = Path(__file__).parents[2]
_URL = "https://example.org/team/rivers"
_BINDERHUB = (
    "--ref=abc --image=r.example.org/x:abc --no-clean --no-run --json-logs --user-name=jovyan --user-id=1000"
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somewhere without a repo2docker_config.py."""
    monkeypatch.chdir(tmp_path)


def _theirs() -> Iterator[argparse.Action]:
    return (action for action in get_argparser()._actions if action.option_strings and action.dest != "help")


def _example(action: argparse.Action, name: str) -> list[str]:
    values: dict[object, str] = {int: "7", None: "a=b"}
    return [name] if action.nargs == 0 else [name, values.get(action.type, "abc")]


_SPELLINGS = [(action, name) for action in _theirs() for name in action.option_strings]


def test_every_argument_of_repo2docker_is_in_the_table() -> None:
    """One that a new repo2docker brings fails here: what becomes of it has to be decided."""
    theirs = {(tuple(action.option_strings), action.dest) for action in _theirs()}

    assert theirs == {(argument.names, argument.stored) for argument in ARGUMENTS}


@pytest.mark.parametrize(("action", "name"), _SPELLINGS, ids=[name for _, name in _SPELLINGS])
def test_each_is_read_as_repo2docker_reads_it(action: argparse.Action, name: str) -> None:
    line = [*_example(action, name), *_example(action, name), _URL, "python3", "-c", "pass"]

    assert get_argparser().parse_known_args(line) == argument_parser({}).parse_known_args(line)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(
            f"{_BINDERHUB} {_URL}",
            id="BinderHub; --image is short for --image-name",
        ),
        pytest.param("--push --cache-from a --cache-from b --subdir=s .", id="repeated"),
        pytest.param("-p 8888:8888 -P -v a:b -e X=1 -E . jupyter lab --port 1", id="short, and a command"),
        pytest.param("--no-run --run --push --no-push --build --no-build .", id="the last counts"),
        pytest.param("--no-run . --push", id="what follows the repository is the command"),
        pytest.param("--Repo2Docker.platform=linux/arm64 .", id="a trait"),
    ],
)
def test_whole_lines_are_read_as_repo2docker_reads_them(line: str) -> None:
    assert get_argparser().parse_known_args(line.split()) == argument_parser({}).parse_known_args(
        line.split()
    )


def test_variables_come_from_the_environment_as_with_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "1")
    monkeypatch.delenv("NOT_HERE", raising=False)
    line = ["-e", "HERE", "-e", "NOT_HERE", "-e", "EMPTY=", "."]

    theirs = get_argparser().parse_known_args(line)[0].environment

    assert (
        theirs == argument_parser({"HERE": "1"}).parse_known_args(line)[0].environment == ["HERE=1", "EMPTY="]
    )


@pytest.mark.parametrize("argument", ARGUMENTS, ids=lambda argument: argument.names[0])
def test_what_becomes_of_each_is_documented_and_done(argument: Argument) -> None:
    assert f"`{argument.names[0]}`" in (_ROOT / "docs/binderhub.md").read_text("utf-8")
    value = {"on": [], "off": [], "number": ["7"]}.get(argument.takes, ["a=b"])
    line = [argument.names[0], *value, _URL]
    if argument.fate == "refused":
        with pytest.raises(UsageError) as error:
            read_arguments(line, {})
        assert (True, True) == (argument.names[0] in error.value.message, bool(error.value.remedy))
    elif argument.fate == "noted":
        assert (f"{argument.names[0]} {argument.here}",) == read_arguments(line, {}).notes
    elif argument.fate == "quiet":
        assert read_arguments([_URL], {}) == read_arguments(line, {})


def test_what_binderhub_passes_needs_no_word() -> None:
    request = read_arguments(f"{_BINDERHUB} --push {_URL}".split(), {})

    assert (_URL, "abc", "r.example.org/x:abc", True, None, True, ()) == (
        *(request.repository, request.ref, request.image, request.push, request.run),
        *(request.json_logs, request.notes),
    )


def test_what_the_action_passes_is_taken() -> None:
    """repo2docker-action passes an appendix always, an empty one as a rule."""
    line = [
        *("--no-run", "--user-id", "1000", "--user-name", "jovyan", "--target-repo-dir", "/home/jovyan"),
        *("--image-name", "team/x:abc", "--cache-from", "team/x", "--label", "repo2docker.ref=main"),
        *("--appendix", "", "."),
    ]

    request = read_arguments(line, {})

    assert (".", "team/x:abc", ["--target-repo-dir", "--label"]) == (
        *(request.repository, request.image),
        [note.split()[0] for note in request.notes],
    )


def test_a_container_is_what_run_is_about(tmp_path: Path) -> None:
    line = ["-v", "data:/data", "-p", "80:8888", "-P", "-e", "X=1", "-E", str(tmp_path), "python3", "-V"]

    assert (
        Run(
            ("python3", "-V"),
            ("80:8888",),
            True,
            ((str(tmp_path / "data"), "/data"), (str(tmp_path), ".")),
            ("X=1",),
        )
        == read_arguments(line, {}).run
    )


def test_options_of_the_build() -> None:
    line = [
        *("--debug", "--build-memory-limit", "1500M", "--Repo2Docker.platform=linux/arm64"),
        *("--Repo2Docker.base_image=b", _URL),
    ]

    request = read_arguments(line, {})

    assert (
        ("--platform", "linux/arm64", "--step-memory", "2", "--verbose", "--debug"),
        (("ENVBUILD_REPO2DOCKER_BASE_IMAGE", "b"),),
    ) == (request.settings, request.variables)


def test_a_configuration_file_in_the_directory_is_told_of_and_not_run(tmp_path: Path) -> None:
    """It is a program, and where the action starts us it is the repository's."""
    (tmp_path / "repo2docker_config.py").write_text("raise SystemExit('ran')\n")

    assert ("repo2docker_config.py is not read: it is a program",) == read_arguments(["."], {}).notes


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("", "usage"),
        ("--nope .", "usage"),
        ("--user-id x .", "usage"),
        ("--user-id 0 .", "root-user"),
        ("--engine kaniko .", "unknown-engine"),
        ("--build-memory-limit lots .", "bad-memory"),
        ("--Repo2Docker.buildpacks=x .", "argument-refused"),
        ("--no-run -v a:b .", "usage"),
        ("--no-run -p 1 .", "usage"),
        ("--no-build -e A=1 .", "usage"),
        ("-v a .", "bad-volume"),
        ("-v a:b:c .", "bad-volume"),
        ("-E https://example.org/x", "bad-volume"),
        ("-p 1 -p 2 .", "usage"),
        ("--appendix RUN .", "argument-refused"),
    ],
)
def test_what_cannot_be_is_an_error(line: str, code: str) -> None:
    with pytest.raises(UsageError) as error:
        read_arguments(line.split(), {})

    assert (code, True) == (error.value.code, bool(error.value.remedy))
