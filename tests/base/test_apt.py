"""Questions to apt: what is refused before it is asked, and what it answers about a small archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from envbuild.base.apt import AptRequest, base_paragraphs, solve
from envbuild.base.apt_tool import apt_tool
from envbuild.base.debian import Index, debian_keyring, open_archive, suites
from envbuild.base.mirrors import Mirrors, find_mirrors
from envbuild.base.resolve import Catalog
from envbuild.errors import MachineError, RepoError
from envbuild.lock.model import Deb
from envbuild.progress import Silent
from envbuild.spec.model import AptPackage
from envbuild.store import Store
from tests.support.debian import DebianArchive, make_deb

Ask = Callable[..., tuple[Deb, ...]]

ESSENTIAL = {"Essential": "yes"}


@pytest.fixture
def filled(archive: DebianArchive) -> DebianArchive:
    """An archive with a base of two packages, and a few to add."""
    archive.add(
        "trixie",
        make_deb("libc6", "2.41-1"),
        make_deb("libc6", "2.41-1", arch="arm64"),
        make_deb("bash", "5.2-1", fields={**ESSENTIAL, "Depends": "libc6"}),
        make_deb("perl-base", "5.40-1", fields={**ESSENTIAL, "Depends": "libc6"}),
        make_deb("dpkg", "1.22-1", fields={**ESSENTIAL, "Pre-Depends": "libc6"}),
        make_deb("git", "2.47-1", fields={"Depends": "git-man, libc6", "Recommends": "less"}),
        make_deb("git-man", "2.47-1", arch="all"),
        make_deb("less", "1-1"),
        make_deb("libc6-dev", "2.41-2", fields={"Depends": "libc6 (= 2.41-2)"}),
        make_deb("vi-one", "1-1", fields={"Provides": "editor"}),
        make_deb("vi-two", "1-1", fields={"Provides": "editor", "Conflicts": "nano"}),
        make_deb("nano", "1-1"),
        make_deb("mailer", "1-1", fields={"Provides": "mail-agent"}),
    )
    archive.add("trixie-security", make_deb("libc6", "2.41-2"), make_deb("git-man", "2.47-2", arch="all"))
    archive.publish()
    return archive


@pytest.fixture
def indexes(filled: DebianArchive, mirrors: Mirrors, store: Store) -> list[Index]:
    with open_archive(mirrors=mirrors, store=store, reporter=Silent()) as opened:
        return [opened.index(opened.release(source, suite), "amd64") for source, suite in suites("trixie")]


@pytest.fixture
def catalog(indexes: list[Index]) -> Catalog:
    return Catalog(indexes)


def _base(catalog: Catalog) -> tuple[Deb, ...]:
    return tuple(catalog.listed(name)[0][0].deb for name in ("bash", "libc6"))


@pytest.fixture
def ask(catalog: Catalog, indexes: list[Index], tmp_path: Path) -> Ask:
    """Solve for names (or ``name=version``), as the lines of an ``apt.txt``."""

    def ask(*words: str, apt: Sequence[str] = ("false",), preferred: dict[str, str] | None = None) -> object:
        asked = tuple(
            AptPackage(name, "apt.txt", line, version or None)
            for line, (name, _, version) in enumerate((word.partition("=") for word in words), 1)
        )
        request = AptRequest("trixie", "amd64", _base(catalog), asked, preferred or {})
        scratch = tmp_path / "apt's root"
        scratch.mkdir()
        return solve(request, catalog, indexes, apt=apt, scratch=scratch)

    return ask


@pytest.mark.parametrize(
    ("word", "code", "message"),
    [
        ("gti", "apt-unknown", "Debian `trixie` has no package `gti`; there is git"),
        ("editor", "apt-virtual", "`editor` is a virtual package in Debian `trixie`: vi-one, vi-two provide"),
        ("git=1.0", "apt-unknown-version", "Debian `trixie` has `git` 2.47-1, not 1.0"),
        ("git-man=1", "apt-unknown-version", "Debian `trixie` has `git-man` 2.47-1 and 2.47-2, not 1"),
        # apt would remove the package, or take the name for a pattern.
        ("git-", "apt-unknown", "Debian `trixie` has no package `git-`; there is git"),
        ("gi.+", "apt-unknown", "Debian `trixie` has no package `gi.+`"),
    ],
)
def test_names_that_apt_must_not_see(ask: Ask, word: str, code: str, message: str) -> None:
    with pytest.raises(RepoError) as caught:
        ask("nano", word)

    assert (code, "apt.txt:2") == (caught.value.code, caught.value.place)
    assert caught.value.message.startswith(message)


def test_an_apt_that_does_not_work_is_the_machines_fault(ask: Ask) -> None:
    with pytest.raises(MachineError) as caught:
        ask("git", apt=("false",))

    assert "apt-failed" == caught.value.code


def test_an_apt_that_is_not_there_is_the_machines_fault(ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(MachineError) as caught:
        ask("git", apt=(str(tmp_path / "no-apt"),))

    assert "apt-failed" == caught.value.code


def test_only_what_the_verified_index_has_is_believed(ask: Ask) -> None:
    with pytest.raises(MachineError, match="apt chose git"):
        ask("git", apt=("echo", "Inst git (9.9 debian [amd64])\n"))


def test_a_base_that_is_no_longer_listed_is_known(catalog: Catalog, indexes: list[Index]) -> None:
    assert base_paragraphs(catalog, _base(catalog)) is not None
    assert base_paragraphs(Catalog(indexes[1:]), _base(catalog)) is None


@pytest.fixture(scope="session")
def apt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """The real apt of trixie."""
    store = Store(tmp_path_factory.mktemp("apt") / "cache")
    store.prepare()
    mirrors = find_mirrors({}, at=datetime.now(UTC))
    assert debian_keyring().is_file()
    yield apt_tool("trixie", store=store, mirrors=mirrors, reporter=Silent())


@pytest.mark.network
class TestRealApt:
    """Its answers about the archive above."""

    @pytest.fixture(autouse=True)
    def fetched(self, apt: tuple[str, ...]) -> None:
        """Fetch it before the archive's key replaces Debian's."""

    def test_dependencies_without_the_base_and_with_what_scripts_need(
        self, apt: tuple[str, ...], ask: Ask
    ) -> None:
        debs = ask("git", apt=apt)

        assert [
            ("dpkg", "1.22-1", False),
            ("git", "2.47-1", True),
            ("git-man", "2.47-2", False),
            ("perl-base", "5.40-1", False),
        ] == [(deb.name, deb.version, deb.direct) for deb in debs]

    def test_versions_of_an_earlier_lock_are_preferred(self, apt: tuple[str, ...], ask: Ask) -> None:
        versions = {deb.name: deb.version for deb in ask("git", apt=apt, preferred={"git-man": "2.47-1"})}

        assert "2.47-1" == versions["git-man"]

    def test_a_demanded_version(self, apt: tuple[str, ...], ask: Ask) -> None:
        assert "2.47-1" == {deb.name: deb.version for deb in ask("git-man=2.47-1", apt=apt)}["git-man"]

    def test_the_only_provider_of_a_virtual_package_is_meant(self, apt: tuple[str, ...], ask: Ask) -> None:
        assert ["mailer"] == [deb.name for deb in ask("mail-agent", apt=apt) if deb.direct]

    def test_the_base_is_not_upgraded(self, apt: tuple[str, ...], ask: Ask) -> None:
        with pytest.raises(RepoError) as caught:
            ask("git", "libc6-dev", apt=apt)

        assert ("apt-unsatisfied", "apt.txt:2") == (caught.value.code, caught.value.place)
        assert "libc6 (= 2.41-2) but 2.41-1 is to be installed" in (caught.value.detail or "")
        assert "--upgrade-base" in (caught.value.remedy or "")

    def test_packages_that_exclude_each_other(self, apt: tuple[str, ...], ask: Ask) -> None:
        with pytest.raises(RepoError) as caught:
            ask("vi-two", "nano", apt=apt)

        assert "apt-unsatisfied" == caught.value.code
        assert "Conflicts: nano" in (caught.value.detail or "")
