"""Which lock a build uses, and where a new one goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envbuild.errors import RepoError
from envbuild.lock.ensure import ensure_lock, keep_lock, read_lock
from envbuild.lock.freshness import inputs_digest
from envbuild.lock.lockfile import FILENAME, dump_lock
from envbuild.lock.model import Lock
from envbuild.progress import Silent
from envbuild.source import Repo, open_repo
from envbuild.spec.findings import refuse_errors
from envbuild.spec.model import Problem, Requirement, Spec
from envbuild.store import Store
from tests.support.locks import PLATFORM, small_lock, small_wheel

SPEC = Spec(name="demo", display_name="Demo", requirements=(Requirement("numpy>=2", "requirements.txt", 1),))


class _Notes(Silent):
    """A reporter that remembers the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def _lock(spec: Spec = SPEC) -> Lock:
    return small_lock(small_wheel("numpy", "2.0", direct=True), inputs=inputs_digest(spec))


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    (tmp_path / "repo").mkdir()
    return open_repo(str(tmp_path / "repo"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "cache")
    store.prepare()
    return store


def _never(_: Lock | None) -> Lock:
    raise AssertionError("nothing should be locked")


def _ensure(
    repo: Repo, store: Store, make: Callable[[Lock | None], Lock], **options: Any
) -> tuple[Any, list[str]]:
    reporter = _Notes()
    arguments: dict[str, Any] = {"platforms": (PLATFORM,), "locked": False, "spec": SPEC} | options
    spec = arguments.pop("spec")
    return ensure_lock(repo, spec, store=store, make=make, reporter=reporter, **arguments), reporter.notes


def test_a_fresh_lock_is_used_as_it_is(repo: Repo, store: Store) -> None:
    (repo.root / FILENAME).write_bytes(dump_lock(_lock()))

    file, notes = _ensure(repo, store, _never)

    assert (_lock(), repo.root / FILENAME, []) == (file.lock, file.path, notes)


def test_without_a_lock_one_is_made_and_written(repo: Repo, store: Store) -> None:
    file, _ = _ensure(repo, store, lambda previous: _lock())

    assert dump_lock(_lock()) == file.data == (repo.root / FILENAME).read_bytes()


def test_a_stale_lock_is_made_again_from_the_old_one(repo: Repo, store: Store) -> None:
    """The old lock is handed over, so that versions are kept; and the user is told why."""
    (repo.root / FILENAME).write_bytes(dump_lock(_lock()))
    changed = replace(SPEC, requirements=(*SPEC.requirements, Requirement("six", "requirements.txt", 2)))
    given = []

    def make(previous: Lock | None) -> Lock:
        given.append(previous)
        return _lock(changed)

    _, notes = _ensure(repo, store, make, spec=changed)

    assert [_lock()] == given
    assert ["six (requirements.txt:2) was added" in note for note in notes] == [True]


def test_a_platform_that_is_not_locked_makes_a_lock_stale(repo: Repo, store: Store) -> None:
    (repo.root / FILENAME).write_bytes(dump_lock(_lock()))

    with pytest.raises(RepoError) as caught:
        _ensure(repo, store, _never, platforms=("linux/arm64",), locked=True)

    assert ("lock-stale", "linux/arm64 is not locked") == (caught.value.code, caught.value.detail)


def test_locked_refuses_to_lock(repo: Repo, store: Store) -> None:
    with pytest.raises(RepoError) as caught:
        _ensure(repo, store, _never, locked=True)

    assert ("lock-missing", FILENAME, 1) == (caught.value.code, caught.value.file, caught.value.exit_code)


def test_a_repository_that_cannot_be_written_keeps_its_lock_in_the_cache(
    repo: Repo, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, data: bytes, **_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("envbuild.lock.ensure.write_atomic", refuse)

    first, notes = _ensure(repo, store, lambda previous: _lock())
    second, _ = _ensure(repo, store, _never)

    assert (None, _lock(), [True]) == (first.path, second.lock, ["the cache" in note for note in notes])


def test_the_lock_of_one_repository_is_not_that_of_another(
    repo: Repo, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_a_repository_that_cannot_be_written_keeps_its_lock_in_the_cache(repo, store, monkeypatch)
    (tmp_path / "other").mkdir()

    assert read_lock(open_repo(str(tmp_path / "other")), store) is None


def test_a_link_in_the_lock_s_place_is_replaced_not_followed(
    repo: Repo, store: Store, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"keep me")
    (repo.root / FILENAME).symlink_to(precious)

    keep_lock(repo, _lock(), store=store, reporter=Silent())

    assert b"keep me" == precious.read_bytes()


def test_a_directory_in_the_lock_s_place_is_named(repo: Repo, store: Store) -> None:
    (repo.root / FILENAME).mkdir()

    with pytest.raises(RepoError) as caught:
        keep_lock(repo, _lock(), store=store, reporter=Silent())

    assert ("lock-not-writable", [repo.root / FILENAME]) == (caught.value.code, list(repo.root.iterdir()))


def test_errors_of_the_repository_come_first_and_all(repo: Repo, store: Store) -> None:
    broken = replace(
        SPEC,
        problems=(
            Problem("error", "bad-notebook", "not JSON", "a.ipynb", 3, "restore it"),
            Problem("warning", "odd", "odd", "b.ipynb"),
            Problem("error", "bad-requirement", "not a requirement", "requirements.txt", 7),
        ),
    )

    with pytest.raises(RepoError) as caught:
        _ensure(repo, store, _never, spec=broken)

    assert ("a.ipynb:3: not JSON", "restore it", "also:\nrequirements.txt:7: not a requirement") == (
        str(caught.value),
        caught.value.remedy,
        caught.value.detail,
    )


def test_warnings_are_not_refused() -> None:
    refuse_errors(replace(SPEC, problems=(Problem("warning", "odd", "odd"),)))
