from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.source.log import last_lines, plain_text


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("\x1b[0;31mred\x1b[0m", "red"),
        ("\x1b[38;5;241m\x1b[43m1\x1b[49m/0", "1/0"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("over\rwritten\b", "overwritten"),
        ("a\tb\nc", "a\tb\nc"),
        ("\x9b31mC1", "31mC1"),
        ("\x1b", ""),
    ],
)
def test_terminals_cannot_be_steered(raw: str, expected: str) -> None:
    assert plain_text(raw) == expected


@given(st.text())
def test_no_control_character_survives(text: str) -> None:
    assert all(
        character.isprintable() or ord(character) > 0x9F or character in "\t\n"
        for character in plain_text(text)
    )


@given(st.text(st.characters(exclude_categories=["Cc"])))
def test_plain_text_stays(text: str) -> None:
    assert plain_text(text) == text


def test_the_end_of_a_long_log_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 1_000_000 + b"".join(b"\n\x1b[1m%d\xff" % number for number in range(100)))
    assert last_lines(log) == "\n".join(f"{number}\N{REPLACEMENT CHARACTER}" for number in range(80, 100))
