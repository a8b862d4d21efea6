"""A client for git repositories that hears nothing of this machine's configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.source.git import GitClient
from envbuild.store import Store
from tests.support.git import GIT_ENVIRONMENT, Upstream
from tests.support.reporters import Messages


@pytest.fixture
def messages() -> Messages:
    """What was said."""
    return Messages()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty cache."""
    store = Store(tmp_path / "cache")
    store.prepare()
    return store


@pytest.fixture
def client(store: Store, messages: Messages) -> Callable[..., GitClient]:
    """Makes clients; ``variables`` are added to the environment."""

    def make(variables: dict[str, str] | None = None, *, offline: bool = False) -> GitClient:
        return GitClient(store, GIT_ENVIRONMENT | (variables or {}), messages, offline=offline)

    return make


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    """A published repository."""
    return Upstream.create(tmp_path / "upstream" / "rivers.git")
