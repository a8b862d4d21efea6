from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from envbuild.base import debian
from envbuild.base.mirrors import Mirrors, find_mirrors
from envbuild.store import Store
from tests.support.debian import DebianArchive


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "cache")
    store.prepare()
    return store


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DebianArchive]:
    """An empty, served Debian archive whose key is the one that is trusted."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    with DebianArchive(folder) as archive:
        monkeypatch.setattr(debian, "debian_keyring", lambda: archive.keyring)
        yield archive


@pytest.fixture
def mirrors(archive: DebianArchive) -> Mirrors:
    configured = {"debian": archive.url, "debian-security": archive.url}
    return find_mirrors(configured, at=datetime(2026, 11, 20, tzinfo=UTC))
