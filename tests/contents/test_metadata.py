"""What packages say about themselves, and what is not believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.contents.licences import Licence
from envbuild.contents.metadata import (
    Metadata,
    conda_metadata,
    debian_files,
    debian_metadata,
    home_page,
    wheel_files,
    wheel_metadata,
)

MODERN = b"""\
Metadata-Version: 2.4
Name: Tide_Tables
Version: 2.1.0
Summary: High water,
        low water
License-Expression: MIT AND Apache-2.0
Project-URL: Changelog, https://example.org/changes
Project-URL: Home-page, https://example.org/tides
Requires-Dist: numpy

# Tides

License: not a header any more
"""
OLD = b"""\
Metadata-Version: 1.1
Name: old
Version: 0.1
Home-page: http://example.org
License: BSD 2-Clause License
{blank}
        Copyright 1999, somebody
{blank}
Summary: UNKNOWN
Classifier: Topic :: Games
""".replace(b"{blank}", b"        ")
STATUS = b"""\
Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 2.36-9
Description: GNU C Library: Shared libraries
 Contains the standard libraries.
Homepage: https://www.gnu.org/software/libc/libc.html

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
"""


def test_metadata_of_a_wheel() -> None:
    expected = Metadata(
        "Tide_Tables",
        "2.1.0",
        "High water, low water",
        Licence("MIT AND Apache-2.0", spdx=True),
        "https://example.org/tides",
    )

    assert expected == wheel_metadata(MODERN)


def test_a_licence_of_several_paragraphs_does_not_hide_what_follows() -> None:
    expected = Metadata("old", "0.1", "", Licence("BSD-2-Clause", spdx=True), "http://example.org")

    assert expected == wheel_metadata(OLD)


@pytest.mark.parametrize("data", [b"", b"\n\nName: late", b"\xff\xfe\x00", b"Version: 1\n"])
def test_what_names_no_package_is_none(data: bytes) -> None:
    assert wheel_metadata(data) is None


def test_files_of_a_wheel_are_below_the_root() -> None:
    record = b'pkg/__init__.py,sha256=x,3\n"a,b.txt",,\n../../../bin/tool,,\n/etc/passwd,,\n'

    assert [
        "srv/env/lib/python3.13/site-packages/pkg/__init__.py",
        "srv/env/lib/python3.13/site-packages/a,b.txt",
        "srv/env/bin/tool",
        "srv/env/lib/python3.13/site-packages/etc/passwd",
    ] == list(wheel_files(record, "srv/env/lib/python3.13/site-packages"))


def test_metadata_of_a_conda_package() -> None:
    record = {"name": "zlib", "version": "1.3.1", "license": "Zlib", "files": ["lib/libz.so", 3]}
    expected = Metadata("zlib", "1.3.1", licence=Licence("Zlib", spdx=True))

    assert (expected, ("lib/libz.so",)) == conda_metadata(json.dumps(record).encode())


def test_metadata_of_debian_packages() -> None:
    libc6 = Metadata(
        "libc6",
        "2.36-9",
        "GNU C Library: Shared libraries",
        home_page="https://www.gnu.org/software/libc/libc.html",
    )

    assert {"libc6": libc6, "libc6:amd64": libc6} == debian_metadata(STATUS)
    assert ["usr", "usr/lib/libc.so.6"] == list(debian_files(b"/.\n/usr\n/usr/lib/libc.so.6\n"))


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "data:text/html,<script>",
        "https://user:secret@example.org/",
        "https://example.org/\u202eevil",
        'https://example.org/"onmouseover="x',
        "https://example.org/<b>",
        "//example.org",
        "ftp://example.org/",
        "https://example.org/" + "a" * 1000,
        None,
        ["https://example.org"],
    ],
)
def test_only_plain_addresses_on_the_web_are_home_pages(address: Any) -> None:
    assert "" == home_page(address)


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary() | st.text().map(lambda text: b"Name: a\nLicense: " + text.encode("utf-8", "replace")))
def test_no_bytes_at_all_raise_an_error(data: bytes) -> None:
    """What was understood is one printable line each."""
    found = [wheel_metadata(data), *debian_metadata(data).values()]
    conda = conda_metadata(data)
    list(wheel_files(data, "a")), list(debian_files(data))

    for one in [*found, *([conda[0]] if conda else [])]:
        assert one is None or (one.name + one.version + one.summary + one.home_page).isprintable()


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("name", "version", "license", "files", "home"), _ANYTHING)
    )
)
def test_no_conda_record_raises_an_error(record: dict[str, Any]) -> None:
    found = conda_metadata(json.dumps(record).encode())

    assert (found is None) == (not isinstance(record.get("name"), str) or not record["name"].strip())
