from __future__ import annotations

from dataclasses import replace

import pytest

from envbuild.base import signed
from envbuild.base.locking import resolve_tool
from envbuild.base.mirrors import Mirrors
from envbuild.base.signed import check_signed
from envbuild.errors import RemoteError, RepoError
from envbuild.lock.model import Artifact, Base, Deb
from envbuild.progress import Silent
from envbuild.store import Store
from tests.support.debian import DebianArchive, PackageFile, make_deb

BASE = Base("python-3.13", "trixie", "3.13.5", "2.40", {}, {}, "2026-11-20T00:00:00Z")
PYTHON, LIBC = make_deb("python3.13-minimal", "3.13.5-2"), make_deb("libc6", "2.41")


def locked(package: PackageFile) -> Deb:
    artifact = Artifact(
        package.filename, package.sha256, len(package.data), "debian", f"pool/main/{package.filename}"
    )
    return Deb(package.control["Package"], package.control["Version"], "amd64", artifact)


@pytest.fixture
def past(
    tmp_path_factory: pytest.TempPathFactory, archive: DebianArchive, monkeypatch: pytest.MonkeyPatch
) -> str:
    """An address for the snapshot archive, where there is nothing (a test may replace it)."""
    empty = Mirrors((f"{archive.url}/no",), (f"{archive.url}/no",))
    monkeypatch.setattr(signed, "snapshot_mirrors", lambda at: replace(empty, at=at))
    return empty.debian[0]


def check(store: Store, mirrors: Mirrors, *debs: Deb, offline: bool = False) -> None:
    check_signed(debs, "amd64", base=BASE, store=store, mirrors=mirrors, reporter=Silent(), offline=offline)


def test_packages_of_a_signed_index_pass(
    archive: DebianArchive, past: str, store: Store, mirrors: Mirrors
) -> None:
    archive.add("trixie", PYTHON)
    archive.add("trixie-updates", LIBC)
    archive.publish()

    check(store, mirrors, locked(PYTHON), locked(LIBC))


@pytest.mark.parametrize(
    "change",
    [
        {"version": "3.13.5-3"},
        {"name": "libc6"},
        {"artifact": replace(locked(PYTHON).artifact, sha256="0" * 64)},
        {"artifact": replace(locked(PYTHON).artifact, source="pypi")},
        {"artifact": replace(locked(PYTHON).artifact, path="packages/evil.tar.gz")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_anything_else_is_refused(
    archive: DebianArchive,
    store: Store,
    mirrors: Mirrors,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
) -> None:
    """A lock that passes off another file, or a file from elsewhere, as a package of Debian's."""
    monkeypatch.setattr(signed, "snapshot_mirrors", lambda at: replace(mirrors, at=at))
    archive.add("trixie", PYTHON, LIBC)
    archive.publish()

    with pytest.raises(RepoError) as caught:
        check(store, mirrors, replace(locked(PYTHON), **change))  # type: ignore[arg-type]

    assert ("debian-unsigned", 1) == (caught.value.code, caught.value.exit_code)


def test_what_debian_had_when_the_base_was_locked_passes(
    archive: DebianArchive,
    store: Store,
    mirrors: Mirrors,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    archive.publish()
    folder = archive.folder / "past"
    folder.mkdir()
    then = DebianArchive(folder)
    then._key = archive._key
    then.add("trixie", PYTHON)
    then.publish()
    there = (f"{archive.url}/past",)
    monkeypatch.setattr(signed, "snapshot_mirrors", lambda at: Mirrors(there, there, at))

    check(store, mirrors, locked(PYTHON))


def test_when_the_snapshot_archive_cannot_be_asked_it_says_so(
    archive: DebianArchive, past: str, store: Store, mirrors: Mirrors
) -> None:
    archive.publish()

    with pytest.raises(
        RemoteError, match=r"nobody confirms that the lock's `python3\.13-minimal` 3"
    ) as caught:
        check(store, mirrors, locked(PYTHON))

    assert "debian-unconfirmed" == caught.value.code


def test_what_was_locked_here_is_known(archive: DebianArchive, store: Store, mirrors: Mirrors) -> None:
    archive.add("trixie", LIBC)
    archive.publish()
    debs = resolve_tool(
        "trixie", "amd64", ("libc6",), excluded={}, store=store, mirrors=mirrors, reporter=Silent()
    )
    archive.requests.clear()

    check(store, mirrors, *debs, offline=True)

    assert [] == archive.requests


def test_offline_nothing_else_is(archive: DebianArchive, store: Store, mirrors: Mirrors) -> None:
    with pytest.raises(RemoteError) as caught:
        check(store, mirrors, locked(PYTHON), locked(LIBC), offline=True)

    assert "offline, nobody can confirm that the lock's `libc6` 2.41 (and 1 more) is Debian's" == str(
        caught.value
    )

    assert "offline" == caught.value.code
