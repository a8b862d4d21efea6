"""Options: what they take, and that they reach the settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from envbuild.cli.main import VERBS, cli, run
from envbuild.cli.options import AGE, SIZE, CommandWithRest, rest_of_command_line
from envbuild.cli.session import SETTINGS, Session
from envbuild.config import OPTIONS, Settings


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (AGE, "30d", 30 * 86400),
        (AGE, "12h", 12 * 3600),
        (AGE, "1.5h", 5400),
        (AGE, "2w", 14 * 86400),
        (AGE, "0d", 0),
        (SIZE, "10G", 10_000_000_000),
        (SIZE, "10 GiB", 10 * 1024**3),
        (SIZE, "500mb", 500_000_000),
        (SIZE, "0", 0),
    ],
)
def test_measures(kind: Any, text: str, expected: int) -> None:
    assert expected == kind.convert(text, None, None)


@pytest.mark.parametrize(
    ("kind", "text"), [(AGE, "30"), (AGE, "-1d"), (AGE, "d"), (SIZE, "10Q"), (SIZE, ""), (SIZE, "1e9")]
)
def test_measures_that_are_none(kind: Any, text: str) -> None:
    with pytest.raises(click.BadParameter):
        kind.convert(text, None, None)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a", "b"], (("a", "b"), None)),
        (["a", "--", "b", "--c"], (("a",), ("b", "--c"))),
        (["--", "a", "--", "b"], ((), ("a", "--", "b"))),
        (["a", "--"], (("a",), ())),
    ],
)
def test_what_follows_two_dashes_is_kept_apart(arguments: list[str], expected: tuple[Any, Any]) -> None:
    seen = []

    @click.command(cls=CommandWithRest)
    @click.argument("before", nargs=-1)
    def command(before: tuple[str, ...]) -> None:
        seen.append((before, rest_of_command_line()))

    command.main(arguments, standalone_mode=False)

    assert [expected] == seen


def _commands(command: click.Command, name: str = "envbuild") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from _commands(found, f"{name} {child}")
    else:
        yield name, command


def test_every_verb_has_the_common_options() -> None:
    common = {"machine", "offline", "cache_dir", "quiet", "verbose", "debug"}

    lacking = {name: common - {parameter.name for parameter in verb.params} for name, verb in _commands(cli)}

    assert {name: set() for name in lacking} == lacking


def test_every_verb_is_a_module_that_says_what_it_does() -> None:
    assert list(VERBS) == list(cli.list_commands(click.Context(cli)))
    assert all(verb.help for _, verb in _commands(cli))


def test_no_argument_is_taken_for_a_setting() -> None:
    """Options that are settings are taken out of what a verb gets; its arguments must not be."""
    clashes = [
        (name, parameter.name)
        for name, verb in _commands(cli)
        for parameter in verb.params
        if isinstance(parameter, click.Argument) and parameter.name in SETTINGS
    ]

    assert [] == clashes


def test_every_setting_with_an_option_is_spelled_alike() -> None:
    names = {parameter.name for _, verb in _commands(cli) for parameter in verb.params}
    without_option = {
        "name",
        "pypi_index",
        "conda_channels",
        "verify",
        "debian_mirror",
        "debian_security_mirror",
        "repo2docker_base_image",
    }

    assert {option.attribute for option in OPTIONS} - without_option == names & SETTINGS


def _settings_of(monkeypatch: pytest.MonkeyPatch, repository: Path, *arguments: str) -> Settings:
    """The settings that hold in ``envbuild plan REPOSITORY ARGUMENTS``."""
    seen: list[Settings] = []
    original = Session.project

    def project(self: Session, source: str) -> Any:
        found = original(self, source)
        seen.append(found.settings)
        return found

    monkeypatch.setattr(Session, "project", project)
    assert 0 == run(["plan", str(repository), "--quiet", *arguments])
    return seen[0]


def test_options_reach_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "envbuild.toml").write_text('python = "3.11"\nplatforms = ["linux/arm64"]\n')

    settings = _settings_of(monkeypatch, tmp_path, "--python", "3.13", "--requirement", "six", "--offline")

    assert ("3.13", ("linux/arm64",), ("six",), True) == (
        settings.python,
        settings.platforms,
        settings.requirements,
        settings.offline,
    )


def test_what_is_not_given_is_left_to_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ENVBUILD_OFFLINE", "yes")

    assert _settings_of(monkeypatch, tmp_path).offline


def test_doctor_fails_when_something_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from envbuild.doctor import Check

    checks = (Check("uv", "ok", "uv 1.0"), Check("bubblewrap", "fail", "no namespaces", "allow them"))
    monkeypatch.setattr("envbuild.doctor.examine", lambda *_, **__: checks)

    code = run(["doctor"])

    expected = (
        "ok    uv          uv 1.0\nfail  bubblewrap  no namespaces\n                  help: allow them\n"
    )
    assert (3, expected) == (code, capsys.readouterr().out)
