"""The environment's place in the place of the one packages were built in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.pack.conda_prefix import replace_prefix

OLD = b"/opt/build/placeholder_placeholder"
NEW = b"/srv/env"


def test_text_is_replaced_everywhere() -> None:
    data = b"root=" + OLD + b"\npath=" + OLD + b"/bin:" + OLD + b"/lib\n"

    assert replace_prefix(data, OLD, NEW, "text") == b"root=/srv/env\npath=/srv/env/bin:/srv/env/lib\n"


def test_strings_of_binaries_keep_their_length() -> None:
    data = b"\x7fELF" + OLD + b"/a:" + OLD + b"/b\0" + b"next\0" + OLD

    replaced = replace_prefix(data, OLD, NEW, "binary")

    assert len(replaced) == len(data)
    assert replaced.startswith(b"\x7fELF/srv/env/a:/srv/env/b\0\0")
    assert replaced[data.index(b"next") :].startswith(b"next\0/srv/env\0")


def test_a_placeholder_that_is_too_short_for_a_binary_is_an_error() -> None:
    with pytest.raises(ValueError, match="too short"):
        replace_prefix(b"/a\0", b"/a", NEW, "binary")
    assert replace_prefix(b"/a", b"/a", NEW, "text") == NEW


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"#!" + OLD + b"/bin/python -u", b"#!/srv/env/bin/python -u"),
        (b"#! " + OLD + b"/bin/python", b"#! /srv/env/bin/python"),
        (
            b"#!" + OLD + b"/bin/" + b"x" * 130 + b"/perl -w",
            b"#!/usr/bin/env perl -w",
        ),
        (b"#!/bin/sh", b"#!/bin/sh"),
    ],
)
def test_shebangs_stay_short_enough_for_linux(line: bytes, expected: bytes) -> None:
    rest = b"\n# " + OLD + b"\n"

    assert replace_prefix(line + rest, OLD, NEW, "text") == expected + b"\n# /srv/env\n"


@given(st.lists(st.sampled_from([OLD, b"\0", b"x", OLD[:-3], b"/"]), max_size=20).map(b"".join))
def test_binaries_never_change_length_and_never_keep_the_placeholder(data: bytes) -> None:
    replaced = replace_prefix(data, OLD, NEW, "binary")

    assert len(replaced) == len(data)
    assert OLD not in replaced
    assert [part for part in replaced.split(b"\0") if part] == [
        part.replace(OLD, NEW) for part in data.split(b"\0") if part
    ]
