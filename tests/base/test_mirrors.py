from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from envbuild.base.mirrors import Mirrors, find_mirrors, snapshot_mirrors
from envbuild.errors import UsageError

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


def write(apt: Path, name: str, text: str) -> None:
    place = apt / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def test_deb822_sources(tmp_path: Path) -> None:
    write(
        tmp_path,
        "sources.list.d/debian.sources",
        """\
Types: deb deb-src
# a comment
URIs: http://mirror.example.org/debian/
Suites: bookworm bookworm-updates
Components: main contrib

Types: deb
URIs: http://security.example.org/debian-security
Suites: bookworm-security
Components: main
""",
    )

    assert Mirrors(
        ("http://mirror.example.org/debian",), ("http://security.example.org/debian-security",)
    ) == find_mirrors(at=NOW, apt=tmp_path)


def test_one_line_sources(tmp_path: Path) -> None:
    write(
        tmp_path,
        "sources.list",
        """\
# deb http://commented.example.org/debian trixie main
deb-src http://source.example.org/debian trixie main
deb [arch=amd64 signed-by=/k.gpg] https://a.example.org/debian trixie main # best
deb https://b.example.org/debian trixie-updates contrib main
deb https://s.example.org/security trixie-security main
""",
    )

    assert Mirrors(
        ("https://a.example.org/debian", "https://b.example.org/debian"), ("https://s.example.org/security",)
    ) == find_mirrors(at=NOW, apt=tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "deb http://example.org/packages some-app main",
        "deb http://example.org/ubuntu noble main",
        "deb http://example.org/ubuntu noble-security main",
        "deb http://example.org/debian trixie contrib",
        "deb file:///srv/mirror trixie main",
        "deb cdrom:[Debian]/ trixie main",
        "deb http://example.org/debian",
        "nonsense",
    ],
)
def test_what_is_not_debian_main_over_http_is_not_used(tmp_path: Path, line: str) -> None:
    write(tmp_path, "sources.list", line)

    assert snapshot_mirrors(NOW) == find_mirrors(at=NOW, apt=tmp_path)


def test_disabled_sources_are_not_used(tmp_path: Path) -> None:
    write(
        tmp_path,
        "sources.list.d/x.sources",
        "Types: deb\nEnabled: no\nURIs: http://example.org/debian\nSuites: trixie\nComponents: main\n",
    )

    assert snapshot_mirrors(NOW) == find_mirrors(at=NOW, apt=tmp_path)


def test_a_mirror_list(tmp_path: Path) -> None:
    write(tmp_path, "mirrors/debian.list", "# best first\nhttps://a.example.org/debian priority:1\n\n")
    write(tmp_path, "sources.list", f"deb mirror+file:{tmp_path}/mirrors/debian.list trixie main\n")

    assert ("https://a.example.org/debian",) == find_mirrors(at=NOW, apt=tmp_path).debian


def test_a_source_the_host_does_not_know_is_read_from_the_snapshot_archive(tmp_path: Path) -> None:
    write(tmp_path, "sources.list", "deb http://example.org/debian trixie main\n")

    found = find_mirrors(at=NOW, apt=tmp_path)

    assert ("http://example.org/debian",) == found.debian
    assert snapshot_mirrors(NOW).security == found.security
    assert found.at == NOW


def test_configuration_comes_first(tmp_path: Path) -> None:
    write(tmp_path, "sources.list", "deb http://host.example.org/debian trixie main\n")

    found = find_mirrors({"debian": "https://mine.example.org/deb/"}, at=NOW, apt=tmp_path)

    assert ("https://mine.example.org/deb",) == found.addresses("debian")


@pytest.mark.parametrize("address", ["/srv/mirror", "ftp://example.org", "file:///srv", "https://", ""])
def test_a_configured_address_that_is_no_http_url_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match="debian-security"):
        find_mirrors({"debian-security": address}, at=NOW, apt=tmp_path)


def test_the_snapshot_archive_is_addressed_by_utc_time() -> None:
    assert snapshot_mirrors(NOW).debian[0].endswith("/debian/20261120T150000Z")
    assert snapshot_mirrors(NOW).security[0].endswith("/debian-security/20261120T150000Z")


def test_an_unknown_source_has_no_address() -> None:
    with pytest.raises(KeyError):
        snapshot_mirrors(NOW).addresses("conda-forge")
