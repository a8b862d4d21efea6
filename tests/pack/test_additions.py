"""What makes a registry's image a base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from envbuild.errors import RemoteError
from envbuild.layers import AdditionsLayer
from envbuild.lock.model import Artifact, Deb
from envbuild.pack.additions import additions_entries, with_group, with_user
from envbuild.pack.tar import Entry, complete
from tests.support.base_images import platform_image
from tests.support.debian import make_deb

TINI = {"usr/bin/tini-static": b"\x7fELF", "usr/bin/tini": b"dynamic", "usr/share/doc/tini/copyright": b"MIT"}
AUTHORITIES = {
    "usr/share/ca-certificates/mozilla/B.crt": b"B\n",
    "usr/share/ca-certificates/mozilla/A.crt": b"A",
    "usr/share/ca-certificates/README": b"no",
}


def additions(tmp_path: Path, packages: dict[str, dict[str, bytes]], **changes: Any) -> dict[str, Entry]:
    debs, files = [], {}
    for name, contents in packages.items():
        package = make_deb(name, files=contents, executable=contents)
        files[package.sha256] = tmp_path / package.filename
        files[package.sha256].write_bytes(package.data)
        artifact = Artifact(package.filename, package.sha256, len(package.data), "debian")
        debs.append(Deb(name, "1.0", "amd64", artifact))
    layer = AdditionsLayer("linux/amd64", platform_image(**changes), tuple(debs))
    return {entry.path.decode(): entry for entry in complete(additions_entries(layer, files))}


def test_the_first_process_is_linked_statically_and_gains_no_rights(tmp_path: Path) -> None:
    entries = additions(tmp_path, {"tini": TINI})

    assert (b"\x7fELF", 0o755) == (
        entries["usr/local/bin/envbuild-init"].content,
        entries["usr/local/bin/envbuild-init"].mode,
    )
    assert b"MIT" == entries["usr/share/envbuild/tini.copyright"].content
    assert "usr/bin/tini" not in entries


def test_authorities_are_added_where_there_are_none(tmp_path: Path) -> None:
    entries = additions(tmp_path, {"tini": TINI, "ca-certificates": AUTHORITIES}, certificates="")

    assert b"A\nB\n" == entries["etc/ssl/certs/ca-certificates.crt"].content


def test_the_user_is_among_those_of_the_image(tmp_path: Path) -> None:
    entries = additions(tmp_path, {"tini": TINI}, passwd="root:x:0:0::/root:/bin/sh\n", shell="/bin/sh")

    assert entries["etc/passwd"].content == (
        b"root:x:0:0::/root:/bin/sh\njovyan:*:1000:100::/home/jovyan:/bin/sh\n"
    )
    assert b"root:x:0:\nusers:x:100:\n" == entries["etc/group"].content


def test_where_engines_mount_there_are_real_directories_and_files(tmp_path: Path) -> None:
    """A link of the image would lead those who mount outside of it."""
    entries = additions(tmp_path, {"tini": TINI})

    kinds = {path: entry.kind for path, entry in entries.items()}
    for path in ("dev", "etc", "proc", "run", "srv", "sys", "tmp", "usr", "var/tmp"):
        assert "dir" == kinds[path]
    assert ("file", "file") == (kinds["etc/hosts"], kinds["etc/resolv.conf"])
    assert 0o1777 == entries["tmp"].mode


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "jovyan:*:1000:100::/home/jovyan:/bin/sh\n"),
        (
            "jovyan:x:5:5::/:/bin/sh\na:x:1:1::/:\n",
            "a:x:1:1::/:\njovyan:*:1000:100::/home/jovyan:/bin/sh\n",
        ),
        (
            "node:x:1000:1000::/home/node:/bin/sh\n",
            "jovyan:*:1000:100::/home/jovyan:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n",
        ),
        ("+::::::\n", "+::::::\njovyan:*:1000:100::/home/jovyan:/bin/sh\n"),
    ],
    ids=["no users", "one of the name", "one of the number", "no user at all"],
)
def test_the_number_belongs_to_jovyan(before: str, after: str) -> None:
    assert after == with_user(before, "/bin/sh")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("staff:x:100:\n", "staff:x:100:\n"),
        ("users:x:984:\n", "users:x:984:\njovyan:x:100:\n"),
        ("", "users:x:100:\n"),
    ],
)
def test_the_group_has_a_name(before: str, after: str) -> None:
    assert after == with_group(before)


def test_a_package_without_the_static_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="no static program"):
        additions(tmp_path, {"tini": {"usr/bin/tini": b""}})
