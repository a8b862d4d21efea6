"""Settings: precedence, kinds, and what a repository may not say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.config import (
    OPTIONS,
    Settings,
    load_settings,
    parse_repository_config,
    read_user_config,
)
from envbuild.errors import EnvbuildError, RepoError, UsageError


def test_flag_beats_repository_beats_variable_beats_user_file() -> None:
    places = {
        "flags": {"compression": None, "python": "3.13"},
        "repository": {"python": "3.12", "exclude_newer": "2026-01-01"},
        "environment": {"ENVBUILD_EXCLUDE_NEWER": "2025-01-01", "ENVBUILD_COMPRESSION": "gzip"},
        "user": {"compression": "zstd", "engine": "docker"},
    }

    settings = load_settings(**places)

    assert ("3.13", "2026-01-01", "gzip", "docker") == (
        settings.python,
        settings.exclude_newer,
        settings.compression,
        settings.engine,
    )


def test_defaults_without_any_setting() -> None:
    settings = load_settings(flags={}, environment={})

    assert Settings(cache_dir=settings.cache_dir, jobs=settings.jobs) == settings
    assert settings.cache_dir.is_absolute()
    assert settings.jobs >= 1


def test_an_empty_flag_is_not_given() -> None:
    settings = load_settings(flags={"extras": (), "python": None}, environment={"ENVBUILD_EXTRAS": "plot io"})

    assert ("plot", "io") == settings.extras


def test_an_empty_variable_is_not_set() -> None:
    assert "zstd" == load_settings(flags={}, environment={"ENVBUILD_COMPRESSION": ""}).compression


def test_cache_directory_is_absolute_and_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    settings = load_settings(flags={}, environment={"ENVBUILD_CACHE_DIR": "~/cache"})

    assert tmp_path / "cache" == settings.cache_dir


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ENVBUILD_JOBS", "many", "ENVBUILD_JOBS must be a number between 1 and 1024"),
        ("ENVBUILD_JOBS", "0", "ENVBUILD_JOBS must be a number between 1 and 1024"),
        ("ENVBUILD_OFFLINE", "perhaps", "ENVBUILD_OFFLINE must be true or false"),
        (
            "ENVBUILD_PLATFORMS",
            "linux/riscv64",
            "ENVBUILD_PLATFORMS cannot be 'linux/riscv64': choose from linux/amd64, linux/arm64",
        ),
        (
            "ENVBUILD_REGISTRY",
            "team/envs",
            "ENVBUILD_REGISTRY must be a repository in a registry, like registry.example.org/team/envs",
        ),
        (
            "ENVBUILD_REGISTRY",
            "https://registry.example.org/team/envs",
            "ENVBUILD_REGISTRY must be a repository in a registry, like registry.example.org/team/envs",
        ),
        (
            "ENVBUILD_REGISTRY",
            "registry.example.org/team/envs:main",
            "ENVBUILD_REGISTRY must be a repository in a registry, like registry.example.org/team/envs",
        ),
        (
            "ENVBUILD_ENGINE",
            "lxc",
            "ENVBUILD_ENGINE cannot be 'lxc': choose from auto, bubblewrap, docker, podman",
        ),
    ],
)
def test_bad_variables_are_usage_errors(variable: str, value: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings(flags={}, environment={variable: value})

    assert message == str(caught.value)


@pytest.mark.parametrize(("text", "expected"), [("1", True), ("TRUE", True), ("off", False), ("no", False)])
def test_switches_in_variables(text: str, expected: bool) -> None:
    assert expected == load_settings(flags={}, environment={"ENVBUILD_OFFLINE": text}).offline


def test_addresses_of_sources_are_only_those_chosen() -> None:
    settings = load_settings(flags={}, environment={"ENVBUILD_DEBIAN_MIRROR": "https://example.org/debian"})

    assert {"debian": "https://example.org/debian"} == settings.source_addresses


def test_repository_settings_from_pyproject() -> None:
    text = '[project]\nname = "x"\n\n[tool.envbuild]\npython = "3.13"\nextras = ["plot"]\n'

    assert {"python": "3.13", "extras": ("plot",)} == parse_repository_config(pyproject=text, own=None)


def test_repository_settings_from_its_own_file() -> None:
    assert {"compression": "gzip"} == parse_repository_config(pyproject=None, own='compression = "gzip"\n')


@pytest.mark.parametrize("pyproject", [None, "", "[tool]\n", "tool = 3\n", '[project]\nname = "x"\n'])
def test_no_settings(pyproject: str | None) -> None:
    assert {} == parse_repository_config(pyproject=pyproject, own=None)


@pytest.mark.parametrize(
    ("pyproject", "own", "expected"),
    [
        (
            "[tool.envbuild]\n\npyhton = '3.13'\n",
            None,
            ("pyproject.toml:3: unknown setting 'pyhton'", "did you mean 'python'?"),
        ),
        (
            "[tool.envbuild]\nextras = 'plot'\n",
            None,
            ("pyproject.toml:2: extras must be a list of texts", None),
        ),
        ("[tool]\nenvbuild = 3\n", None, ("pyproject.toml: tool.envbuild must be a table", None)),
        (
            "[tool.envbuild]\npython = '3.13'\n",
            "python = '3.11'\n",
            (
                "pyproject.toml:1: envbuild is configured here and in envbuild.toml",
                "keep one: delete envbuild.toml or [tool.envbuild]",
            ),
        ),
        (None, "python = 3.13\n", ("envbuild.toml:1: python must be a text", None)),
        (
            None,
            "python = '3.13'\n[platforms]\n",
            ("envbuild.toml:2: platforms must be a list of texts", None),
        ),
        (None, "python == 3\n", ("envbuild.toml:1: not valid TOML: Invalid value", None)),
        (None, "x = " + "[" * 5000, ("envbuild.toml: not valid TOML: nested too deeply", None)),
    ],
)
def test_repository_mistakes_name_file_and_line(
    pyproject: str | None, own: str | None, expected: tuple[str, str | None]
) -> None:
    with pytest.raises(RepoError) as caught:
        parse_repository_config(pyproject=pyproject, own=own)

    assert expected == (str(caught.value), caught.value.remedy)


@pytest.mark.parametrize(
    "option", [option for option in OPTIONS if not option.repository], ids=lambda o: o.key
)
def test_a_repository_may_not_steer_the_machine(option) -> None:
    """Where things are kept, fetched from and run with is never up to a repository."""
    with pytest.raises(RepoError) as caught:
        parse_repository_config(pyproject=None, own=f"{option.key} = 'x'\n")

    assert ("setting-not-allowed", "envbuild.toml", 1) == (
        caught.value.code,
        caught.value.file,
        caught.value.line,
    )


def test_why_a_repository_may_not_name_the_registry() -> None:
    with pytest.raises(RepoError) as caught:
        parse_repository_config(pyproject=None, own="registry = 'registry.example.org/evil'")

    reason = "layers found in a registry are used as they are, so who names it decides what runs"
    assert f"a repository may not set 'registry': {reason}" == caught.value.message


def test_user_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('cache-dir = "/srv/cache"\njobs = 3\noffline = true\n')

    assert {"cache_dir": "/srv/cache", "jobs": 3, "offline": True} == read_user_config(path)


def test_no_user_file(tmp_path: Path) -> None:
    assert {} == read_user_config(tmp_path / "config.toml")


def test_user_file_mistakes_are_usage_errors(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("jobs = 3\nchache-dir = 'x'\n")

    with pytest.raises(UsageError) as caught:
        read_user_config(path)

    assert (f"{path}:2: unknown setting 'chache-dir'", "did you mean 'cache-dir'?") == (
        str(caught.value),
        caught.value.remedy,
    )


@given(st.text())
def test_no_text_of_a_repository_breaks_reading(text: str) -> None:
    """Whatever the file holds, reading it gives settings or one of our errors."""
    try:
        assert isinstance(parse_repository_config(pyproject=None, own=text), dict)
    except EnvbuildError as error:
        assert error.file == "envbuild.toml"


def test_every_setting_is_documented() -> None:
    documentation = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text()

    undocumented = [
        option.key
        for option in OPTIONS
        if f"`{option.key}`" not in documentation
        or (option.kind != "outputs" and f"`{option.variable}`" not in documentation)
    ]

    assert [] == undocumented
