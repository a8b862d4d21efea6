"""When Debian is asked about ``apt.txt``, and when an earlier answer does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from envbuild.base import apt as base_apt
from envbuild.base import apt_tool as tool
from envbuild.base import debian
from envbuild.base.apt import AptRequest
from envbuild.base.debian import Index, open_archive, suites
from envbuild.base.mirrors import Mirrors
from envbuild.base.resolve import Catalog
from envbuild.errors import RemoteError, RepoError
from envbuild.lock import apt as lock_apt
from envbuild.lock.apt import AptLocker
from envbuild.lock.lockfile import dump_lock, load_lock
from envbuild.lock.model import Deb
from envbuild.progress import Silent
from envbuild.spec.model import AptPackage
from envbuild.store import Store
from tests.lock.test_lockfile import deb
from tests.lock.test_lockfile import lock as some_lock
from tests.support.debian import DebianArchive, make_deb

PLATFORM = "linux/amd64"
GIT = replace(deb("git", "1:2.47-1"), direct=True)
GIT_MAN = deb("git-man", "1:2.47-1", "all")


def asked(*names: str) -> tuple[AptPackage, ...]:
    return tuple(AptPackage(name, "apt.txt", line) for line, name in enumerate(names, 1))


@dataclass
class Answers:
    """Stands for apt: counts the questions."""

    requests: list[AptRequest] = field(default_factory=list)

    def __call__(self, request: AptRequest, *rest: object, **options: object) -> tuple[Deb, ...]:
        self.requests.append(request)
        return (GIT, GIT_MAN)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    answers = Answers()
    monkeypatch.setattr(base_apt, "solve", answers)
    monkeypatch.setattr(tool, "apt_tool", lambda suite, **options: ("apt-get",))
    return answers


@pytest.fixture
def locker(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, answers: Answers) -> object:
    """A locker over an archive with one package; the snapshot archive is another, empty one."""
    for name in ("now", "past"):
        (tmp_path / name).mkdir()
    with DebianArchive(tmp_path / "now") as now, DebianArchive(tmp_path / "past") as past:
        keys = tmp_path / "keys"
        keys.write_bytes(now.keyring.read_bytes() + past.keyring.read_bytes())
        monkeypatch.setattr(debian, "debian_keyring", lambda: keys)
        for archive in (now, past):
            archive.add("trixie", make_deb("libc6", "2.41-1"))
            archive.publish()
        monkeypatch.setattr(lock_apt, "snapshot_mirrors", lambda at: Mirrors((past.url,), (past.url,), at))
        mirrors = Mirrors((now.url,), (now.url,))
        locker = AptLocker("trixie", "2026-11-20T00:00:00Z", store, mirrors, Silent())
        yield _Locking(locker, now, past)


@dataclass
class _Locking:
    locker: AptLocker
    now: DebianArchive
    past: DebianArchive

    @property
    def base(self) -> tuple[Deb, ...]:
        """The packages of the base as signed indexes list them."""
        with open_archive(mirrors=self.locker.mirrors, store=self.locker.store, reporter=Silent()) as archive:
            indexes: list[Index] = [
                archive.index(archive.release(source, suite), "amd64") for source, suite in suites("trixie")
            ]
        return tuple(package.deb for package, _ in Catalog(indexes).listed("libc6"))


Locking = Callable[..., _Locking]


def test_nothing_asked_asks_nobody(locker: _Locking, answers: Answers) -> None:
    assert () == locker.locker.lock((), (), PLATFORM, (GIT,))
    assert [] == answers.requests
    assert [] == locker.now.requests


def test_an_answer_is_kept_for_a_day_and_offline(locker: _Locking, answers: Answers) -> None:
    base = locker.base
    first = locker.locker.lock(asked("git"), base, PLATFORM, ())

    assert (GIT, GIT_MAN) == first
    assert first == replace(locker.locker, offline=True).lock(asked("git"), base, PLATFORM, ())
    assert first == locker.locker.lock(asked("git"), base, PLATFORM, ())
    assert 1 == len(answers.requests)


def test_offline_without_an_answer(locker: _Locking) -> None:
    with pytest.raises(RemoteError) as caught:
        replace(locker.locker, offline=True).lock(asked("git"), (), PLATFORM, ())

    assert "offline" == caught.value.code


def test_what_is_locked_stays_while_the_same_is_asked_for(locker: _Locking, answers: Answers) -> None:
    previous = (GIT, GIT_MAN)

    assert previous == locker.locker.lock(asked("git", "libc6"), (deb("libc6"),), PLATFORM, previous)
    assert [] == answers.requests


@pytest.mark.parametrize(
    ("wanted", "previous"),
    [
        (asked("git", "jq"), (GIT, GIT_MAN)),
        (asked("git-man"), (GIT, GIT_MAN)),
        ((AptPackage("git", "apt.txt", 1, "1:2.48-1"),), (GIT, GIT_MAN)),
        (asked("git"), (GIT_MAN,)),
    ],
)
def test_what_is_locked_is_preferred_when_something_else_is_asked_for(
    locker: _Locking, answers: Answers, wanted: tuple[AptPackage, ...], previous: tuple[Deb, ...]
) -> None:
    locker.locker.lock(wanted, locker.base, PLATFORM, previous)

    (request,) = answers.requests
    assert {deb.name: deb.version for deb in previous} == request.preferred
    assert ("trixie", "amd64", wanted) == (request.suite, request.architecture, request.asked)


def test_the_archive_of_the_bases_day_is_asked_when_debian_has_moved_on(
    locker: _Locking, answers: Answers
) -> None:
    base = locker.base
    _move_on(locker.now)
    locker.past.requests.clear()

    assert (GIT, GIT_MAN) == locker.locker.lock(asked("git"), base, PLATFORM, ())
    assert locker.past.requests != []


def test_a_base_that_nobody_has_says_what_to_do(locker: _Locking) -> None:
    base = locker.base
    for archive in (locker.now, locker.past):
        _move_on(archive)

    with pytest.raises(RemoteError) as caught:
        locker.locker.lock(asked("git"), base, PLATFORM, ())

    assert "apt-base-older" == caught.value.code
    assert "envbuild lock --upgrade-base" in (caught.value.remedy or "")


def _move_on(archive: DebianArchive) -> None:
    archive._packages["trixie"] = [make_deb("libc6", "2.41-2")]
    archive.publish()


def test_the_lock_says_what_was_asked_for() -> None:
    lock = some_lock()
    target = replace(lock.targets[0], apt=(GIT, GIT_MAN))
    data = dump_lock(replace(lock, targets=(target,)))

    assert (GIT, GIT_MAN) == load_lock(data).targets[0].apt
    assert 1 == data.count(b'name = "git", version = "1:2.47-1", arch = "amd64", direct = true')


def test_the_lock_names_the_kernels_of_other_languages() -> None:
    lock = replace(some_lock(), other_kernels=(("ir", "r"), ("my.octave", "octave")))

    assert lock == load_lock(dump_lock(lock))


@pytest.mark.parametrize("row", ['"../x" = "r"', 'ir = "r; id"', "ir = 1"])
def test_impossible_kernels_are_refused(row: str) -> None:
    data = dump_lock(replace(some_lock(), other_kernels=(("ir", "r"),)))

    with pytest.raises(RepoError) as caught:
        load_lock(data.replace(b'"ir" = "r"', row.encode()))

    assert "bad-lock" == caught.value.code
