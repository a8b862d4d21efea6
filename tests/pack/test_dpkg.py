from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from envbuild.pack.dpkg import Installed, dpkg_entries, md5

CONTROL = (
    b"Package: libx\nVersion: 1.0\nArchitecture: amd64\n"
    b"Maintainer: x <x@example.org>\nDescription: x\n more\n"
)


def installed(name: str = "libx", *, same: bool = False, **files: str) -> Installed:
    return Installed(
        name=name,
        arch="amd64",
        control=CONTROL.replace(b"libx", name.encode()) + (b"Multi-Arch: same\n" if same else b""),
        files={key: text.encode() for key, text in files.items()},
        paths=[b"etc", b"etc/x.conf"],
        digests={b"etc/x.conf": md5(b"content")},
        multi_arch_same=same,
    )


def contents(*packages: Installed) -> dict[str, bytes]:
    return {entry.path.decode(): b"".join(entry.chunks()) for entry in dpkg_entries(packages)}


def test_status_says_installed_and_lists_conffiles() -> None:
    status = contents(installed(conffiles="/etc/x.conf\n/etc/dropped\n"))["var/lib/dpkg/status"]

    assert (
        "Package: libx\nStatus: install ok installed\nVersion: 1.0\nArchitecture: amd64\n"
        "Maintainer: x <x@example.org>\nDescription: x\n more\n"
        f"Conffiles:\n /etc/x.conf {md5(b'content')}\n"
    ).encode() == status


def test_packages_are_separated_by_an_empty_line() -> None:
    status = contents(installed("a"), installed("b"))["var/lib/dpkg/status"]

    assert [b"Package: a", b"Package: b"] == [part.splitlines()[0] for part in status.split(b"\n\n")]


@pytest.mark.parametrize(("same", "name"), [(False, "libx"), (True, "libx:amd64")])
def test_lists_and_sums(same: bool, name: str) -> None:
    found = contents(installed(same=same))

    assert b"/.\n/etc\n/etc/x.conf\n" == found[f"var/lib/dpkg/info/{name}.list"]
    assert f"{md5(b'content')}  etc/x.conf\n".encode() == found[f"var/lib/dpkg/info/{name}.md5sums"]


def test_scripts_are_kept_for_later() -> None:
    found = {
        entry.path: entry.mode for entry in dpkg_entries([installed(postinst="#!/bin/sh\n", triggers="")])
    }

    assert 0o755 == found[b"var/lib/dpkg/info/libx.postinst"]
    assert 0o644 == found[b"var/lib/dpkg/info/libx.triggers"]


def test_triggers() -> None:
    found = contents(
        installed("a", triggers="# c\ninterest-noawait ldconfig\ninterest /usr/share/x\nactivate y\n"),
        installed("b", same=True, triggers="interest-await ldconfig\ninterest ../../evil\ninterest\n"),
    )

    assert b"a/noawait\nb:amd64\n" == found["var/lib/dpkg/triggers/ldconfig"]
    assert b"/usr/share/x a\n" == found["var/lib/dpkg/triggers/File"]
    assert {"File", "Unincorp", "ldconfig"} == {
        path.rpartition("/")[2] for path in found if "/triggers/" in path
    }


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="no dpkg here")
def test_the_real_dpkg_reads_it(tmp_path: Path) -> None:
    for path, content in contents(installed("a"), installed("b", same=True)).items():
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def query(*arguments: str) -> str:
        command = ["dpkg-query", f"--admindir={tmp_path}/var/lib/dpkg", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "a ii \nb ii \n" == query("-W", "-f", "${Package} ${db:Status-Abbrev}\n")
    assert "/.\n/etc\n/etc/x.conf\n" == query("-L", "b")
