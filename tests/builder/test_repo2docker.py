"""Build contexts by repo2docker's own buildpacks. No server is asked: Nix's needs none to render."""

from __future__ import annotations

import os
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.builder.context import Context
from envbuild.builder.repo2docker import repo2docker_context, with_r_files
from envbuild.errors import RemoteError, RepoError
from envbuild.pack.tar import Entry, complete, file, symlink
from envbuild.store import Store

_NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


def _contents(entries: list[Entry]) -> dict[str, bytes]:
    return {entry.path.decode(): b"".join(entry.chunks()) for entry in entries if entry.kind == "file"}


def _context(store: Store, scratch: Path, entries: list[Entry], environment: dict[str, str]) -> Context:
    scratch.mkdir()
    return repo2docker_context(
        complete(entries),
        directory="",
        platform="linux/amd64",
        labels={"dev.envbuild.key": "0" * 64},
        store=store,
        environment={"PATH": os.environ["PATH"], **environment},
        scratch=scratch,
        base_image="local/base",
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


def test_context_is_the_same_twice_and_needs_no_buildkit(store: Store, tmp_path: Path) -> None:
    entries = [file("default.nix", b"{}\n"), file("a/data.csv", b"1\n"), symlink("link", "a/data.csv")]
    first = _context(store, tmp_path / "1", entries, {})
    second = _context(store, tmp_path / "2", entries, {"TZ": "Asia/Tokyo"})

    assert first.archive.read_bytes() == second.archive.read_bytes()
    assert {"NB_USER": "jovyan", "NB_UID": "1000", "REPO_DIR": "/srv/repo"} == first.arguments
    with tarfile.open(first.archive) as archive:
        members = {member.name: member for member in archive.getmembers()}
        dockerfile = archive.extractfile("Dockerfile")
        assert dockerfile is not None
        text = dockerfile.read().decode()
    assert text.startswith("\nFROM local/base\n")
    assert "--chmod" not in text
    assert "COPY /repo2docker-entrypoint " in text
    assert 0o755 == members["repo2docker-entrypoint"].mode
    assert 'LABEL dev.envbuild.key="' in text
    assert members["src/a/data.csv"].isfile()
    assert "a/data.csv" == members["src/link"].linkname
    assert {(0, "", "")} == {(member.uid, member.uname, member.gname) for member in members.values()}


def test_a_server_that_cannot_be_reached(store: Store, tmp_path: Path) -> None:
    """Julia's buildpack asks which versions there are; nothing listens at this proxy."""
    proxies = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    with pytest.raises(RemoteError) as caught:
        _context(store, tmp_path / "scratch", [file("Project.toml", b'name = "x"\n')], proxies)
    assert "repo2docker-unreachable" == caught.value.code


def test_what_a_buildpack_refuses(store: Store, tmp_path: Path) -> None:
    with pytest.raises(RepoError) as caught:
        _context(store, tmp_path / "scratch", [file("runtime.txt", b"r-4.3-2024-99-99")], {})
    assert "repo2docker-refused" == caught.value.code


def test_nothing_of_the_repository_is_imported(store: Store, tmp_path: Path) -> None:
    """The worker runs in the repository's copy, as repo2docker wants; a module there stays a file."""
    mark = tmp_path / "imported"
    hostile = f"open({str(mark)!r}, 'w')".encode()
    names = ("repo2docker.py", "json.py", "docker.py", "sitecustomize.py", "envbuild.py", "traitlets.py")
    _context(
        store, tmp_path / "scratch", [file("default.nix", b""), *(file(name, hostile) for name in names)], {}
    )
    assert not mark.exists()


def test_install_r_gets_a_snapshot() -> None:
    entries = with_r_files(complete([file("install.R", b"1")]), "", _NOW)
    assert {"install.R": b"1", "runtime.txt": b"r-4.4-2026-03-02\n"} == _contents(entries)


def test_a_stated_snapshot_is_kept() -> None:
    entries = complete([file("install.R", b"1"), file("runtime.txt", b"r-4.2-2024-01-01")])
    assert b"r-4.2-2024-01-01" == _contents(with_r_files(entries, "", _NOW))["runtime.txt"]


def test_renv_lock_is_restored_with_its_r() -> None:
    lock = b'{"R": {"Version": "4.3.1"}, "Packages": {}}'
    entries = complete([file("binder/renv.lock", lock), file("binder/install.R", b"own()\n")])
    contents = _contents(with_r_files(entries, "binder", _NOW))

    assert b"r-4.3.1-2026-03-02\n" == contents["binder/runtime.txt"]
    assert b'lockfile = "binder/renv.lock"' in contents["binder/install.R"]
    assert contents["binder/install.R"].endswith(b"own()\n")


def test_other_repositories_stay_as_they_are() -> None:
    entries = complete([file("Project.toml", b"")])
    assert entries == with_r_files(entries, "", _NOW)


@pytest.mark.parametrize(
    "lock",
    [
        b"",
        b"[]",
        b'{"R": 1}',
        b'{"R": {"Version": "4; rm"}}',
        b'{"R": {"Version": 4}}',
        b"\xff",
        b"[" * 10_000,
    ],
)
def test_bad_renv_locks(lock: bytes) -> None:
    with pytest.raises(RepoError) as caught:
        with_r_files([file("renv.lock", lock)], "", _NOW)
    assert ("bad-renv-lock", "renv.lock") == (caught.value.code, caught.value.file)


@given(st.binary(max_size=200))
def test_any_renv_lock_is_read_or_refused(lock: bytes) -> None:
    try:
        with_r_files([file("renv.lock", lock)], "", _NOW)
    except RepoError as error:
        assert "bad-renv-lock" == error.code
