"""Nothing of a repository is executed on the host, and none of its files steers our tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.index import Index, make_wheel
from tests.support.programs import Envbuild

pytestmark = pytest.mark.network

# Every one of these is run by some tool that is started in, or pointed at, a directory that has it.
_SCRIPTS = (
    "setup.py",
    "conftest.py",
    "sitecustomize.py",
    "usercustomize.py",
    "noxfile.py",
    "backend.py",
    "jupyter_config.py",
    # Modules that we and our tools import, found first by a Python that looks in its working directory.
    "click.py",
    "envbuild.py",
    "json.py",
    "platform.py",
    "uv.py",
)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """The file that hostile code would write."""
    return tmp_path / "canary"


@pytest.fixture
def lure() -> Iterator[Index]:
    """An index that only the repository's own files name."""
    with Index() as index:
        index.add(make_wheel("six", "99.0"))
        yield index


@pytest.fixture
def repository(tmp_path: Path, canary: Path, lure: Index) -> Path:
    """A repository that tries everything."""
    directory = tmp_path / "repository"
    directory.mkdir()
    attack = f"open({str(canary)!r}, 'a').write(__name__)\n"
    for script in _SCRIPTS:
        (directory / script).write_text(attack)
    (directory / "evil.pth").write_text(f"import sys; {attack}")
    (directory / "requirements.txt").write_text("six\n")
    for name in ("pip.conf", "pip.ini", ".pip/pip.conf", ".config/pip/pip.conf"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(f"[global]\nindex-url = {lure.url}\n")
    (directory / "uv.toml").write_text(f'index-url = "{lure.url}"\nextra-index-url = ["{lure.url}"]\n')
    (directory / ".env").write_text(f"UV_DEFAULT_INDEX={lure.url}\nPIP_INDEX_URL={lure.url}\n")
    (directory / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[tool.uv]\nindex-url = "{lure.url}"\nfind-links = ["{lure.url}"]\n'
    )
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": [f"!touch {canary}\n", attack]}
    notebook = {
        "cells": [{**cell, "execution_count": None, "outputs": []}],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (directory / "notebook.ipynb").write_text(json.dumps(notebook))
    return directory


def test_repository_stays_inert(
    envbuild: Envbuild, repository: Path, canary: Path, lure: Index, tmp_path: Path
) -> None:
    """plan, lock and build from inside it: no canary, and nobody asked the lure."""
    for verb in ("plan", "lock", "build"):
        done = envbuild.run(verb, cwd=repository)
        assert 0 == done.returncode, done.stderr
        assert not canary.exists(), f"{verb} executed {canary.read_text()}"
        assert [] == lure.requests
    assert 'version = "99.0"' not in (repository / "envbuild.lock").read_text()
