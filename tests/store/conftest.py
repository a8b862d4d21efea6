from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.store import Store


@pytest.fixture
def warnings() -> list[str]:
    """What the store has said about damage."""
    return []


@pytest.fixture
def store(tmp_path: Path, warnings: list[str]) -> Store:
    made = Store(tmp_path / "cache", warnings.append)
    made.prepare()
    return made
