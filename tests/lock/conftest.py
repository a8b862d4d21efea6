"""A package index on 127.0.0.1 and a uv that knows nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from envbuild.lock.select import Pin
from envbuild.lock.uv import UvResolver
from envbuild.lock.uv_process import Uv
from envbuild.spec.model import Requirement
from envbuild.store import Store
from tests.support.index import Index

Resolve = Callable[..., dict[str, Pin]]


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Index() as index:
        yield index


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "cache")
    store.prepare()
    return store


@pytest.fixture
def environment(index: Index, tmp_path: Path) -> dict[str, str]:
    """What a user's environment is to envbuild."""
    home = tmp_path / "home"
    home.mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "UV_DEFAULT_INDEX": index.url,
        "UV_HTTP_RETRIES": "0",
    }


@pytest.fixture(scope="session")
def acquainted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of uv that knows this Python: asking Python takes uv longer than what it is tested with."""
    cache = tmp_path_factory.mktemp("acquainted")
    find = [*("python", "find", sys.executable), "--no-config", "--offline", "--cache-dir", str(cache)]
    subprocess.run([Uv(Store(cache), {}).program, *find], check=True, capture_output=True)
    return cache


@pytest.fixture
def uv(store: Store, environment: dict[str, str], acquainted: Path) -> Uv:
    shutil.copytree(acquainted, store.uv, dirs_exist_ok=True)
    return Uv(store, environment)


@pytest.fixture
def solve(uv: Uv) -> Resolve:
    """Resolve requirement texts (lines of ``requirements.txt``) for one target; pins by name."""

    def solve(
        *texts: str | Requirement, constraints: tuple[str, ...] = (), **options: object
    ) -> dict[str, Pin]:
        target = {"python": "3.11.2", "glibc": "2.36", "platform": "linux/amd64", **options}
        asked = lines(*texts), lines(*constraints, file="constraints.txt")
        pins = UvResolver(uv).resolve(*asked, **target)  # type: ignore[arg-type]
        return {pin.name: pin for pin in pins}

    return solve


def lines(*texts: str | Requirement, file: str = "requirements.txt") -> list[Requirement]:
    """Requirements as if ``texts`` were the lines of ``file``."""
    return [
        text if isinstance(text, Requirement) else Requirement(text, file, number)
        for number, text in enumerate(texts, start=1)
    ]
