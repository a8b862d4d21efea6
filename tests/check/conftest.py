"""Small repositories that are checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from envbuild.check.checker import Checked, check_repository
from envbuild.check.context import make_context
from envbuild.check.rule import Finding
from envbuild.check.rules import matching
from envbuild.check.selection import Selection
from envbuild.contents.modules import Modules
from envbuild.lock.lockfile import dump_lock
from envbuild.lock.model import Lock
from envbuild.source import Repo
from envbuild.spec import read_spec
from envbuild.store import Store
from tests.support.locks import PLATFORM

Files = Mapping[str, str | bytes]


def code(source: str, count: int | None = None, *outputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A code cell."""
    metadata = {"tags": list(more.pop("tags"))} if "tags" in more else {}
    return {
        "cell_type": "code",
        "execution_count": count,
        "metadata": metadata,
        "outputs": list(outputs),
        "source": source.splitlines(keepends=True),
        **more,
    }


def notebook(*cells: dict[str, Any] | str, minor: int = 4, language: str = "python", **metadata: Any) -> str:
    """A notebook as Jupyter writes it, that was run with Python 3.11."""
    return json.dumps(
        {
            "cells": [code(cell) if isinstance(cell, str) else cell for cell in cells],
            "metadata": {
                "kernelspec": {"name": "python3", "display_name": "Python 3", "language": language},
                "language_info": {"name": language, "version": "3.11.2"},
            }
            | metadata,
            "nbformat": 4,
            "nbformat_minor": minor,
        },
        indent=1,
    )


def result(text: str, count: int | None = None) -> dict[str, Any]:
    """An output of a cell."""
    return {
        "output_type": "execute_result",
        "data": {"text/plain": [text]},
        "metadata": {},
        "execution_count": count,
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "cache")
    store.prepare()
    return store


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    root = tmp_path / "repository"
    root.mkdir()
    return Repo(root)


@pytest.fixture
def check(repo: Repo, store: Store) -> Callable[..., Checked]:
    """A function that writes files, maybe a lock, and asks the rules that are selected."""

    def run(files: Files, select: str = "ALL", lock: Lock | None = None, fix: bool = False) -> Checked:
        for name, content in files.items():
            path = repo.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if lock is not None:
            (repo.root / "envbuild.lock").write_bytes(dump_lock(lock))
        context = make_context(
            repo,
            read_spec(repo),
            store=store,
            platforms=[PLATFORM],
            modules=lambda lock: Modules(store),
        )
        return check_repository(context, Selection(matching([select])), fix=fix)

    return run


@pytest.fixture
def found(check: Callable[..., Checked]) -> Callable[..., list[Finding]]:
    """A function that checks one notebook of these cells."""

    def run(*cells: dict[str, Any] | str, select: str = "ALL", **options: Any) -> list[Finding]:
        return list(check({"n.ipynb": notebook(*cells, **options)}, select).findings)

    return run
