"""Passwords reach the host they are for, and no other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from envbuild.fetch import http_client
from envbuild.network.credentials import Credentials
from tests.support.index import Index, make_wheel


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_")) or name == "NETRC"]:
        monkeypatch.delenv(name)


@pytest.fixture
def private() -> Iterator[Index]:
    with Index(credentials=("me", "hunter2")) as index:
        index.add(make_wheel("app"))
        yield index


def keyring(tmp_path: Path, password: str) -> str:
    """A ``keyring`` program that notes what it is asked and knows one password; returns the PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "keyring"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncase "$*" in *creds*) echo me;; esac\necho {password}\n'
    )
    program.chmod(0o755)
    return f"{programs}:{os.environ['PATH']}"


def status(url: str) -> int:
    with http_client() as client:
        return client.get(url).status_code


def test_of_the_address(private: Index) -> None:
    assert (200, 401) == (status(private.url_with_credentials + "/app/"), status(private.url + "/app/"))


def test_of_the_index_for_files_beside_it(private: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_INDEX", f"corp={private.url}")
    monkeypatch.setenv("UV_INDEX_CORP_USERNAME", "me")
    monkeypatch.setenv("UV_INDEX_CORP_PASSWORD", "hunter2")
    assert 200 == status(private.url + "/app/")


def test_of_netrc_by_host_and_never_its_default(
    private: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = tmp_path / ".netrc"
    passwords.write_text("default login me password hunter2\n")
    passwords.chmod(0o600)
    assert 401 == status(private.url + "/app/")
    passwords.write_text("machine 127.0.0.1\nlogin me\npassword hunter2\n")
    assert 200 == status(private.url + "/app/")


@pytest.mark.parametrize("text", ["machine", "machine 127.0.0.1 login", "\0", "nonsense here"])
def test_a_damaged_netrc_is_none(private: Index, tmp_path: Path, text: str) -> None:
    (tmp_path / ".netrc").write_text(text)
    assert 401 == status(private.url + "/app/")


def test_the_keyring_is_asked_when_the_index_refuses_and_the_user_wants_it(
    private: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", keyring(tmp_path, "hunter2"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", private.url.replace("://", "://me@"))
    assert 401 == status(private.url + "/app/")
    assert not (tmp_path / "asked").exists()

    monkeypatch.setenv("UV_KEYRING_PROVIDER", "subprocess")
    with http_client() as client:
        assert [200, 200] == [client.get(private.url + "/app/").status_code for _ in range(2)]
    assert f"get {private.url} me\n" == (tmp_path / "asked").read_text()


def test_a_redirect_to_another_host_takes_no_password_along(
    private: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other server listens under another name of this machine, and would accept the password."""
    elsewhere = private.url.replace("127.0.0.1", "localhost") + "/app/"
    private.redirects["/away"] = elsewhere
    monkeypatch.setenv("UV_DEFAULT_INDEX", private.url_with_credentials)

    assert 401 == status(private.base + "away")

    assert [("GET", "/away"), ("GET", "/simple/app/")] == private.requests


def test_a_redirect_to_a_host_with_a_password_of_its_own(
    private: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Index() as front:
        front.redirects["/away"] = private.url.replace("127.0.0.1", "localhost") + "/app/"
        (tmp_path / ".netrc").write_text("machine localhost login me password hunter2\n")
        (tmp_path / ".netrc").chmod(0o600)
        assert 200 == status(front.base + "away")


def test_nothing_is_shown() -> None:
    environment = {"UV_DEFAULT_INDEX": "https://me:hunter2@example.org/simple"}
    credentials = Credentials(environment)
    assert ("me", "hunter2") == credentials.known("https://example.org/x")
    assert "hunter2" not in repr(credentials)
