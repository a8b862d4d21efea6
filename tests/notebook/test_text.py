from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.notebook.text import plain_text


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
