"""Credentials, from everywhere docker and podman leave them."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.errors import MachineError
from envbuild.registry.auth import Credential, Keychain

Files = Callable[..., dict[str, str]]


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def keychain(environment: dict[str, str], warnings: list[str] | None = None) -> Keychain:
    return Keychain(environment, (warnings if warnings is not None else []).append)


def found(
    environment: dict[str, str], registry: str = "ghcr.io", repository: str = "me/demo"
) -> tuple[str, str, str] | None:
    credential = keychain(environment).find(registry, repository)
    return (credential.kind, credential.user, credential.secret) if credential else None


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def helper(directory: Path, name: str, script: str) -> None:
    """A program ``docker-credential-<name>`` that notes what it is asked."""
    program = write(
        directory / f"docker-credential-{name}",
        f'#!/bin/sh\naddress=$(cat)\necho "$1 $address" >> {directory}/asked\n{script}\n',
    )
    program.chmod(0o755)


def answering(user: str, secret: str) -> str:
    return f"echo '{json.dumps({'ServerURL': 'x', 'Username': user, 'Secret': secret})}'"


def path_to(directory: Path) -> str:
    return f"{directory}{os.pathsep}{os.environ['PATH']}"


def test_nothing_is_there(tmp_path: Path) -> None:
    assert None is found({"HOME": str(tmp_path)})
    assert None is found({})


def test_places_in_order(tmp_path: Path) -> None:
    places = {
        "$DOCKER_AUTH_CONFIG": None,
        str(tmp_path / "docker" / "config.json"): "DOCKER_CONFIG",
        str(tmp_path / "named.json"): "REGISTRY_AUTH_FILE",
        str(tmp_path / "run" / "containers" / "auth.json"): "XDG_RUNTIME_DIR",
        str(tmp_path / ".config" / "containers" / "auth.json"): None,
    }
    environment = {
        "HOME": str(tmp_path),
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "REGISTRY_AUTH_FILE": str(tmp_path / "named.json"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "DOCKER_AUTH_CONFIG": json.dumps({"auths": {"ghcr.io": auth("me", "$DOCKER_AUTH_CONFIG")}}),
    }
    write(tmp_path / ".docker" / "config.json", {"auths": {"ghcr.io": auth("me", "not looked at")}})
    for place in list(places)[1:]:
        write(Path(place), {"auths": {"ghcr.io": auth("me", place)}})

    order = []
    while (credential := keychain(environment).find("ghcr.io", "me/demo")) is not None:
        assert credential.source == credential.secret
        order.append(credential.source)
        if credential.source.startswith("$"):
            del environment["DOCKER_AUTH_CONFIG"]
        else:
            Path(credential.source).unlink()

    assert list(places) == order


def test_dockers_file_is_in_the_home_directory(tmp_path: Path) -> None:
    write(tmp_path / ".docker" / "config.json", {"auths": {"ghcr.io": auth("me", "secret")}})

    assert ("password", "me", "secret") == found({"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (auth("me", "with:colon"), ("password", "me", "with:colon")),
        (auth("me", "padded\0\0"), ("password", "me", "padded")),
        ({"username": "me", "password": "plain"}, ("password", "me", "plain")),
        ({**auth("me", ""), "identitytoken": "t"}, ("identity", "me", "t")),
        ({"identitytoken": "t"}, ("identity", "", "t")),
        ({"registrytoken": "t"}, ("bearer", "", "t")),
        ({}, None),
        (auth("me", ""), None),
        ({"auth": "???"}, None),
        ({"auth": base64.b64encode(b"\xff\xfe").decode()}, None),
        ({"auth": 7}, None),
        (None, None),
        ([], None),
    ],
)
def test_entries(entry: Any, expected: tuple[str, str, str] | None) -> None:
    assert expected == found({"DOCKER_AUTH_CONFIG": json.dumps({"auths": {"ghcr.io": entry}})})


@pytest.mark.parametrize(
    ("keys", "registry", "repository", "expected"),
    [
        (["https://index.docker.io/v1/"], "docker.io", "library/python", "https://index.docker.io/v1/"),
        (["index.docker.io"], "docker.io", "me/demo", "index.docker.io"),
        (["docker.io"], "docker.io", "me/demo", "docker.io"),
        (["docker.io/me", "docker.io"], "docker.io", "me/demo", "docker.io/me"),
        (["https://ghcr.io"], "ghcr.io", "me/demo", "https://ghcr.io"),
        (["http://ghcr.io/v2/"], "ghcr.io", "me/demo", "http://ghcr.io/v2/"),
        (["ghcr.io/"], "ghcr.io", "me/demo", "ghcr.io/"),
        (["quay.io", "quay.io/a", "quay.io/a/b"], "quay.io", "a/b", "quay.io/a/b"),
        (["quay.io", "quay.io/a", "quay.io/a/b"], "quay.io", "a/c", "quay.io/a"),
        (["quay.io", "quay.io/a", "quay.io/a/b"], "quay.io", "c", "quay.io"),
        (["quay.io/a"], "quay.io", "ab", None),
        (["localhost:5000"], "localhost:5000", "demo", "localhost:5000"),
        (["localhost"], "localhost:5000", "demo", None),
        (["ghcr.io.evil.example.org", "evil.example.org/ghcr.io"], "ghcr.io", "demo", None),
    ],
)
def test_keys(keys: list[str], registry: str, repository: str, expected: str | None) -> None:
    entries = {key: {"username": "me", "password": key} for key in keys}

    result = found({"DOCKER_AUTH_CONFIG": json.dumps({"auths": entries})}, registry, repository)

    assert expected == (result[2] if result else None)


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, "\xff", " " * (1 << 21)])
def test_a_file_that_is_none_is_a_warning(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "auth.json", content)
    warnings: list[str] = []
    keys = keychain({"REGISTRY_AUTH_FILE": str(path)}, warnings)

    assert (None, None) == (keys.find("ghcr.io", "a"), keys.find("quay.io", "a"))
    assert [f"{path}: not a file of credentials, which is a JSON object; it is left out"] == warnings


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.text(max_size=5) | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["ghcr.io", "auth", "x"]), inner),
        max_leaves=6,
    )
)
def test_no_content_breaks_it(content: Any) -> None:
    with suppress(MachineError):  # a program that is not there
        found({"DOCKER_AUTH_CONFIG": json.dumps({"auths": content, "credHelpers": content})})
    found({"DOCKER_AUTH_CONFIG": json.dumps({"auths": {"ghcr.io": content}})})


def test_a_directory_instead_of_the_file_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    warnings: list[str] = []

    assert None is keychain({"DOCKER_CONFIG": str(tmp_path)}, warnings).find("ghcr.io", "a")
    assert [f"{tmp_path}/config.json: cannot be read: Is a directory"] == warnings


# Helpers


def test_the_helper_of_a_registry_comes_first(tmp_path: Path) -> None:
    helper(tmp_path, "own", answering("me", "from own"))
    helper(tmp_path, "all", answering("me", "from all"))
    config = {
        "credHelpers": {"ghcr.io": "own"},
        "credsStore": "all",
        "auths": {"ghcr.io": auth("me", "from the file")},
    }
    environment = {"DOCKER_AUTH_CONFIG": json.dumps(config), "PATH": path_to(tmp_path)}

    credential = keychain(environment).find("ghcr.io", "me/demo")

    assert Credential("password", "me", "from own", "docker-credential-own") == credential
    assert ("password", "me", "from all") == found(environment, "quay.io")
    assert ["get ghcr.io", "get quay.io"] == (tmp_path / "asked").read_text().splitlines()


def test_docker_hub_is_asked_for_by_its_old_address_and_once(tmp_path: Path) -> None:
    helper(tmp_path, "all", answering("<token>", "refresh"))
    keys = keychain({"DOCKER_AUTH_CONFIG": json.dumps({"credsStore": "all"}), "PATH": path_to(tmp_path)})

    credentials = [keys.find("docker.io", "library/python") for _ in range(3)]

    assert 3 * [Credential("identity", "<token>", "refresh", "docker-credential-all")] == credentials
    assert ["get https://index.docker.io/v1/"] == (tmp_path / "asked").read_text().splitlines()


def test_a_helper_that_knows_nothing_is_no_error(tmp_path: Path) -> None:
    helper(tmp_path, "own", "echo 'credentials not found in native keychain'; exit 1")
    config = {"credHelpers": {"ghcr.io": "own"}, "auths": {"ghcr.io": auth("me", "from the file")}}
    environment = {"DOCKER_AUTH_CONFIG": json.dumps(config), "PATH": path_to(tmp_path)}

    assert ("password", "me", "from the file") == found(environment)


@pytest.mark.parametrize(
    ("name", "script", "why"),
    [
        ("gone", None, "it is not installed"),
        ("broken", "echo 'vault is sealed' >&2; exit 3", "it ended with 3 (vault is sealed)"),
        ("broken", "exit 1", "it ended with 1 (no message)"),
        ("broken", "echo hello", "its answer is not of the expected form"),
        ("broken", "echo '[]'", "its answer is not of the expected form"),
        ("broken", 'echo \'{"Username": "me"}\'', "its answer is not of the expected form"),
        ("../broken", "exit 0", "that is not the name of a program"),
        ("a b", "exit 0", "that is not the name of a program"),
        ("-x", "exit 0", "that is not the name of a program"),
    ],
)
def test_a_broken_helper(tmp_path: Path, name: str, script: str | None, why: str) -> None:
    if script is not None:
        helper(tmp_path, "broken", script)
    environment = {"PATH": path_to(tmp_path)}

    def configured(**config: Any) -> Keychain:
        return keychain({**environment, "DOCKER_AUTH_CONFIG": json.dumps(config)}, warnings)

    warnings: list[str] = []
    with pytest.raises(MachineError) as raised:
        configured(credHelpers={"ghcr.io": name}).find("ghcr.io", "a")
    assert f"docker-credential-{name} cannot be asked for ghcr.io: {why}" == raised.value.message
    assert ("credential-helper-failed", 3) == (raised.value.code, raised.value.exit_code)

    # One that is there for all registries must not stop who needs no password at all.
    keys = configured(credsStore=name, auths={"quay.io": auth("me", "from the file")})
    assert (None, None) == (keys.find("ghcr.io", "a"), keys.find("ghcr.io", "b"))
    assert [f"docker-credential-{name} cannot be asked for ghcr.io: {why}; going on without it"] == warnings
    assert "from the file" == getattr(keys.find("quay.io", "a"), "secret", None)


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    credential = Credential("password", "me", "hunter2", "a file")

    assert "hunter2" not in repr(credential) + str(credential) + repr(keychain({"x": "hunter2"}))
