"""Directories on their way to a pod: the same files make the same image there."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.errors import RemoteError, UsageError
from envbuild.image.reference import parse_reference
from envbuild.jobs.context import fetch_context, pack_context, push_context
from envbuild.pack.tree import repo_entries
from envbuild.progress import Silent
from envbuild.registry.registries import Registries
from envbuild.source import Repo, open_repo
from envbuild.source.selection import select
from envbuild.spec import SpecOptions, read_spec
from envbuild.store import Store
from tests.support.git import Upstream
from tests.support.registry import FakeRegistry, fake_registry

LOCK = b"the lock\n"
FILES = {
    ".gitignore": "*.csv\n/data/\n",
    ".dockerignore": "requirements.txt\n",
    "requirements.txt": "six\n",
    "kept.csv": "tracked although it is ignored\n",
    "notebooks/caf\u00e9.ipynb": '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}\n',
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One that git tracks, with files that stay out for every reason there is."""
    upstream = Upstream.create(tmp_path / "upstream.git", {"README.md": "rivers\n"})
    for name, text in FILES.items():
        path = upstream.work / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    upstream.git("add", "--force", "--all")
    upstream.git("-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-qm", "files")
    (upstream.work / "data").mkdir()
    (upstream.work / "data" / "large.bin").write_text("ignored\n")
    (upstream.work / "untracked.csv").write_text("ignored\n")
    (upstream.work / "id_rsa").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n")
    (upstream.work / "link").symlink_to("notebooks")
    (upstream.work / "run.sh").write_text("#!/bin/sh\n")
    (upstream.work / "run.sh").chmod(0o755)
    return upstream.work


def _store(path: Path) -> Store:
    store = Store(path)
    store.prepare()
    return store


def _sent(repository: Path, store: Store, registry: FakeRegistry, registries: Registries) -> str:
    repo = open_repo(str(repository))
    context = pack_context(repo, read_spec(repo, SpecOptions()), LOCK, store)
    target = parse_reference(f"{registry.address}/team/rivers:1")
    return push_context(context, repo.name, target, store=store, registries=registries, reporter=Silent())


def _entries(repo: Repo) -> list[tuple[bytes, str, int, bytes]]:
    """What a repository layer of it is made of."""
    entries = repo_entries(repo, select(repo).files)
    return [(one.path, one.kind, one.mode, b"".join(one.chunks())) for one in entries]


def test_the_same_goes_into_the_image(repository: Path, tmp_path: Path) -> None:
    with fake_registry() as registry, Registries({}) as registries:
        source = _sent(repository, _store(tmp_path / "here"), registry, registries)
        there = fetch_context(
            source, store=_store(tmp_path / "there"), registries=registries, reporter=Silent()
        )

    (repository / "envbuild.lock").write_bytes(LOCK)
    here = open_repo(str(repository))
    assert _entries(here) == _entries(there)
    assert here.name == there.name
    assert FILES["requirements.txt"].encode() == there.read("requirements.txt", 100)
    assert not there.exists("data")
    assert not there.exists("untracked.csv")
    assert not there.exists("id_rsa")


def test_the_same_files_are_sent_once(repository: Path, tmp_path: Path) -> None:
    with fake_registry() as registry, Registries({}) as registries:
        first = _sent(repository, _store(tmp_path / "one"), registry, registries)
        sent = registry.sent("put-manifest")
        (repository / "README.md").touch()
        second = _sent(repository, _store(tmp_path / "two"), registry, registries)

        assert (first, sent) == (second, registry.sent("put-manifest"))


@pytest.mark.parametrize(
    "source",
    [
        "context://registry.example.org/x:1#name",
        "context://registry.example.org/x@sha256:" + "a" * 64,
        "context://registry.example.org/x@sha256:" + "a" * 64 + "#..",
        "context://registry.example.org/x@sha256:" + "a" * 64 + "#a%2Fb",
    ],
)
def test_no_addresses(source: str, tmp_path: Path) -> None:
    with Registries({}) as registries, pytest.raises(UsageError) as caught:
        fetch_context(source, store=_store(tmp_path), registries=registries, reporter=Silent())

    assert "bad-source" == caught.value.code


def test_what_was_uploaded_is_gone(tmp_path: Path) -> None:
    with fake_registry() as registry, Registries({}) as registries:
        source = f"context://{registry.address}/team/rivers@sha256:{'a' * 64}#rivers"
        with pytest.raises(RemoteError) as caught:
            fetch_context(source, store=_store(tmp_path), registries=registries, reporter=Silent())

    assert "context-missing" == caught.value.code
