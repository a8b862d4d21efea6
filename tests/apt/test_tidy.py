from __future__ import annotations

import pytest

from envbuild.apt.tidy import tidied
from envbuild.pack.tar import file


@pytest.mark.parametrize(
    "path",
    [
        "etc/passwd-",
        "etc/.pwd.lock",
        "etc/machine-id",
        "etc/ssh/ssh_host_ed25519_key",
        "etc/ssl/private/ssl-cert-snakeoil.key",
        "var/cache/fontconfig/0123.cache-9",
        "var/cache/debconf/templates.dat",
        "var/lib/apt/lists/index",
        "var/lib/dpkg/status-old",
        "var/lib/dpkg/triggers/Lock",
        "var/lib/ucf/hashfile.0",
        "var/lib/dpkg/.wh.lock",
    ],
)
def test_not_kept(path: str) -> None:
    assert [] == list(tidied([file(path, b"x")]))


@pytest.mark.parametrize(
    "path",
    [
        "etc/passwd",
        "usr/bin/git",
        "var/lib/dpkg/status",
        "var/lib/dpkg/info/git.list",
        "var/lib/dpkg/info/format-old.list",
        "etc/.wh.motd",
        "etc/ssh/ssh_config",
        "var/lib/ucf/hashfile",
    ],
)
def test_kept(path: str) -> None:
    entry = file(path, b"x")

    assert [entry] == list(tidied([entry]))


def test_users_have_no_day_of_change() -> None:
    content = b"root:*::0:99999:7:::\nmessagebus:!:19999::::::\n"

    (entry,) = tidied([file("etc/shadow", content, mode=0o600)])

    assert b"root:*::0:99999:7:::\nmessagebus:!:::::::\n" == b"".join(entry.chunks())
    assert (0o600, entry.size) == (entry.mode, len(b"".join(entry.chunks())))


def test_the_day_on_which_a_file_was_made_is_left_out() -> None:
    content = b"# Created by Octave 9.4.0, Sat Nov 21 2026 <root@x>\n# name: global_packages\n"

    (entry,) = tidied([file("usr/share/octave/octave_packages", content)])

    assert (b"# name: global_packages\n", 24) == (entry.content, entry.size)
