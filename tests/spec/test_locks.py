"""Locks that repositories bring along."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from envbuild.errors import RepoError
from envbuild.source import Repo
from envbuild.spec.locks import ForeignLock, read_pylock, read_uv_lock
from envbuild.spec.model import PythonRequest
from tests.spec.conftest import Files
from tests.spec.documents import PYLOCK, UV_LOCK

MakeRepo = Callable[[Files], Repo]


def test_pylock(make_repo: MakeRepo) -> None:
    assert ForeignLock(frozenset({"numpy"}), PythonRequest(">=3.11", "pylock.toml", 3)) == read_pylock(
        make_repo({"pylock.toml": PYLOCK}), "pylock.toml"
    )


def test_uv_lock(make_repo: MakeRepo) -> None:
    assert ForeignLock(frozenset({"demo", "numpy"}), PythonRequest(">=3.11", "uv.lock", 3)) == read_uv_lock(
        make_repo({"uv.lock": UV_LOCK}), "uv.lock"
    )


@pytest.mark.parametrize(
    "content",
    [
        "",
        "lock-version = '1.0'",
        "lock-version = '9.0'\ncreated-by = 'x'\npackages = []",
        "lock-version = 1\ncreated-by = 'x'\npackages = []",
        "lock-version = '1.0'\ncreated-by = 'x'\npackages = [1]",
        "lock-version = '1.0'\ncreated-by = 'x'\npackages = [{name = '../x'}]",
        "lock-version = '1.0'\ncreated-by = 'x'\npackages = []\nrequires-python = 'snake'",
        "lock-version = ",
        b"\xff",
    ],
)
def test_bad_pylock(make_repo: MakeRepo, content: str | bytes) -> None:
    with pytest.raises(RepoError) as caught:
        read_pylock(make_repo({"pylock.toml": content}), "pylock.toml")

    assert "pylock.toml" == caught.value.file
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "version = 2",
        "version = '1'",
        "version = 1\npackage = {}",
        "version = 1\npackage = [1]",
        "version = 1\n[[package]]\nname = 1",
        "version = 1\nrequires-python = 3",
        "version = ",
    ],
)
def test_bad_uv_lock(make_repo: MakeRepo, content: str) -> None:
    with pytest.raises(RepoError) as caught:
        read_uv_lock(make_repo({"uv.lock": content}), "uv.lock")

    assert "uv.lock" == caught.value.file
