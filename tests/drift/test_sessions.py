"""What outlives a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.drift.changes import Change
from envbuild.drift.sessions import (
    SessionChanges,
    keep_left,
    keep_session,
    last_session,
    needed_session,
    session_path,
)
from envbuild.errors import RepoError
from envbuild.source.origin import Origin
from envbuild.source.repo import Repo
from envbuild.store import Store

SESSION = SessionChanges(
    "up", "2026-11-21T10:00:00Z", (Change("numpy", "2.1", None), Change("six", None, "1.17.0"))
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


def test_a_session_is_kept_until_it_is_adopted(store: Store, tmp_path: Path) -> None:
    repo = Repo(tmp_path)
    keep_session(repo, SESSION, store)
    kept = last_session(repo, store)
    keep_left(repo, SESSION, [SESSION.changes[0]], store)
    left = needed_session(repo, store)
    keep_left(repo, SESSION, [], store)
    assert (kept, left.changes, last_session(repo, store)) == (SESSION, SESSION.changes[:1], None)
    with pytest.raises(RepoError) as caught:
        needed_session(repo, store)
    assert caught.value.code == "no-session-changes"


def test_every_repository_has_its_own(store: Store, tmp_path: Path) -> None:
    origin = Origin("https://example.org/a.git", "0" * 40, "a")
    repos = [Repo(tmp_path), Repo(tmp_path / "b"), Repo(tmp_path, origin)]
    assert len({session_path(repo, store) for repo in repos}) == 3


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"[]",
        b'{"verb": "up", "started": "x"}',
        b'{"verb": "rm", "started": "x", "changes": [{"name": "a", "after": "1", "place": "user"}]}',
        b'{"verb": "up", "started": 3, "changes": [{"name": "a", "after": "1", "place": "user"}]}',
        b'{"verb": "up", "started": "x", "changes": [{"name": "a b", "after": "1", "place": "user"}]}',
    ],
)
def test_what_is_no_session_is_none(store: Store, tmp_path: Path, content: bytes) -> None:
    repo = Repo(tmp_path)
    session_path(repo, store).write_bytes(content)
    assert last_session(repo, store) is None


def test_versions_are_those_of_an_index_that_were_there_in_the_end() -> None:
    assert SESSION.versions == {"six": "1.17.0"}
