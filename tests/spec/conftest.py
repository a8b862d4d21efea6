"""Small repositories for the tests of reading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from envbuild.source import Repo
from envbuild.spec import Spec, SpecOptions, read_spec
from envbuild.spec.findings import Findings

Files = Mapping[str, str | bytes]


@pytest.fixture
def make_repo(tmp_path: Path) -> Callable[[Files], Repo]:
    """A function that writes files into a repository called ``My Project``."""
    root = tmp_path / "My Project"
    root.mkdir()

    def make(files: Files) -> Repo:
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Repo(root)

    return make


@pytest.fixture
def spec_of(make_repo: Callable[[Files], Repo]) -> Callable[..., Spec]:
    """A function that writes files and reads what they ask for."""

    def read(files: Files, **options: Any) -> Spec:
        return read_spec(make_repo(files), SpecOptions(**options))

    return read


@pytest.fixture
def findings() -> Findings:
    return Findings()
