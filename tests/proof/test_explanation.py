"""How two contents differ, in words."""

from __future__ import annotations

import importlib.util

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.proof.explanation import explain

MAGIC = importlib.util.MAGIC_NUMBER
UNCHECKED = b"\x01\0\0\0"
BYTECODE = MAGIC + UNCHECKED + b"12345678code"


@pytest.mark.parametrize(
    ("expected", "found", "how"),
    [
        (b"a\nb\n", b"a\nc\n", "line 2 is 'c' instead of 'b'"),
        (b"a\nb\n", b"a\n b\n", "line 2 is ' b' instead of 'b'"),
        (b"a\nb\n", b"a\nb\r\n", "line 2 is 'b\\r' instead of 'b'"),
        (b"a\nb\n", b"a\nb\nc\n", "line 3 is 'c' instead of ''"),
        (b"a\nb", b"a\nb\nc", "line 3, 'c', is extra"),
        (b"a\nb\nc", b"a\nb", "line 3, 'c', is missing"),
        (b"a\n", b"a", "the last line end is missing"),
        (b"a", b"a\n", "the last line end is extra"),
        (b"", b"a", "line 1 is 'a' instead of ''"),
        (b"\0\1\2\3", b"\0\1\2\4", "binary, from byte 3 on"),
        (b"\0\1", b"\0\1\2", "binary, from byte 2 on, 3 bytes instead of 2"),
        (b"\xff\xfe" * 9, b"\xff\xfe" * 8 + b"\xff\xff", "binary, from byte 17 on"),
        (b"\x7fELF\1\2", b"\x7fELF\1\3", "a program or library (ELF), from byte 5 on"),
        (b"\x7fELF\1\2", b"#!/bin/sh", "no ELF file any more, from byte 0 on, 9 bytes instead of 6"),
    ],
)
def test_what_is_said(expected: bytes, found: bytes, how: str) -> None:
    assert how == explain("a", expected, found)


@pytest.mark.parametrize(
    ("found", "how"),
    [
        (MAGIC + UNCHECKED + b"12345678Code", "the code itself from byte 16 on"),
        (MAGIC + UNCHECKED + b"87654321code", "of another source"),
        (MAGIC + bytes(4) + b"12345678code", "checked against its source in another way"),
        (b"\xcb\r\r\n" + UNCHECKED + b"12345678code", "of another Python, or none"),
        (b"", "of another Python, or none"),
    ],
)
def test_what_is_said_of_bytecode(found: bytes, how: str) -> None:
    said = explain("__pycache__/a.cpython-311.pyc", BYTECODE, found)

    assert said.startswith("bytecode")
    assert said.endswith(how)


def test_of_a_long_line_the_place_is_shown() -> None:
    line = "x" * 500
    said = explain("a", f"{line}1{line}".encode(), f"{line}2{line}".encode())

    assert f"line 1 is '…{'x' * 50}2{'x' * 49}…' instead of '…{'x' * 50}1{'x' * 49}…'" == said


def test_lines_of_strangers_cannot_steer_a_terminal_and_show_no_passwords() -> None:
    said = explain("a", b"", b"\x1b[31m https://me:secret@example.org/")

    assert "line 1 is '\\x1b[31m https://***@example.org/' instead of ''" == said


def test_a_character_that_is_cut_at_the_end_is_still_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envbuild.proof.explanation.LOOKED_AT", 3)

    assert "line 1 is 'b' instead of 'a'" == explain("a", "a\né".encode()[:3], "b\né".encode()[:3])


@settings(max_examples=200)
@given(st.binary(max_size=40), st.binary(max_size=40), st.sampled_from(["a", "a.pyc"]))
def test_something_is_said_about_everything(expected: bytes, found: bytes, name: str) -> None:
    said = explain(name, expected, found)

    assert said.isprintable()
    assert said
