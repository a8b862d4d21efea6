"""Credentials that come in variables, and in BinderHub's mounted secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envbuild.binder.credentials import GIT, REGISTRY, git_login, hidden_secret, registry_variables
from envbuild.errors import UsageError
from envbuild.registry.auth import Keychain

_URL = "https://example.org/team/rivers"


@pytest.mark.parametrize(
    ("said", "login"),
    [
        pytest.param(
            r"username=token\npassword=x-oauth-basic", ("token", "x-oauth-basic"), id="GitHub's provider"
        ),
        pytest.param("username=a\npassword=b=c\n", ("a", "b=c"), id="real line ends"),
        pytest.param(
            r"host=example.org\nprotocol=https\nusername=a\npassword=b", ("a", "b"), id="for this host"
        ),
        pytest.param(r"host=other.example\nusername=a\npassword=b", None, id="for another host"),
        pytest.param(r"protocol=http\nusername=a\npassword=b", None, id="for another protocol"),
        pytest.param("username=a", None, id="no password"),
        pytest.param("", None, id="empty"),
    ],
)
def test_logins_for_git(said: str, login: tuple[str, str] | None) -> None:
    assert login == git_login({GIT: said}, _URL)


def _found(variables: dict[str, str], registry: str) -> tuple[str, str] | None:
    credential = Keychain(variables, lambda message: None).find(registry, "team/x")
    return (credential.user, credential.secret) if credential else None


@pytest.mark.parametrize(
    ("said", "registry"),
    [
        ("registry.example.org", "registry.example.org"),
        ("https://registry.example.org:5000/v2", "registry.example.org:5000"),
        ("docker.io", "docker.io"),
    ],
)
def test_credentials_of_the_variable_are_found(said: str, registry: str) -> None:
    variables = {REGISTRY: json.dumps({"registry": said, "username": "me", "password": "s:ecret"})}

    assert ("me", "s:ecret") == _found(registry_variables(variables), registry)


def test_they_do_not_hide_others() -> None:
    other = {"auths": {"other.example": {"username": "o", "password": "p"}}}
    variables = {
        "DOCKER_AUTH_CONFIG": json.dumps(other),
        REGISTRY: json.dumps({"registry": "registry.example.org", "username": "me", "password": "s"}),
    }

    made = registry_variables(variables)

    assert (("me", "s"), ("o", "p")) == (_found(made, "registry.example.org"), _found(made, "other.example"))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        '{"registry": "x"}',
        '{"registry": "", "username": "a", "password": "b"}',
        "[" * 10**5,
    ],
)
def test_a_bad_variable_is_an_error_without_its_content(text: str) -> None:
    with pytest.raises(UsageError) as error:
        registry_variables({REGISTRY: text})

    assert ("bad-registry-credentials", False) == (error.value.code, text in error.value.message)


@pytest.mark.parametrize("text", ["", "{}", " "])
def test_nothing_said_is_nothing(text: str, tmp_path: Path) -> None:
    assert {} == registry_variables({REGISTRY: text}, tmp_path)


def test_the_mounted_secret_counts_when_there_is_nothing_else(tmp_path: Path) -> None:
    """BinderHub mounts it below /root, and the container has another user and HOME."""
    mounted, home = tmp_path / "root", tmp_path / "home"
    (home / ".docker").mkdir(parents=True)
    mounted.mkdir()
    (mounted / "config.json").write_text("{}")

    assert {"DOCKER_CONFIG": str(mounted)} == registry_variables({"HOME": str(home)}, mounted)
    assert {} == registry_variables({"HOME": str(home), "DOCKER_CONFIG": "/elsewhere"}, mounted)
    (home / ".docker" / "config.json").write_text("{}")
    assert {} == registry_variables({"HOME": str(home)}, mounted)


@pytest.mark.parametrize("place", ["root", "other"])
def test_a_secret_that_can_be_read_is_not_hidden(tmp_path: Path, place: str) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "config.json").write_text("{}")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"36 35 98:0 /x {tmp_path}/{place}/config.json rw - tmpfs x rw\n")

    assert not hidden_secret(mounts, tmp_path / "root")


def test_a_secret_that_is_mounted_and_cannot_be_read_is(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"36 35 98:0 /x {tmp_path}/root/config.json rw - tmpfs x rw\n")

    assert hidden_secret(mounts, tmp_path / "root")
    assert not hidden_secret(tmp_path / "nowhere", tmp_path / "root")
