"""Text of strangers in messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.source import printable, redact
from envbuild.source.text import quote


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"plain name.ipynb", "plain name.ipynb"),
        (b"two\nlines", r"two\nlines"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", r"caf\xe9"),
        ("caf\udce9", r"caf\xe9"),
        ("lone \ud83d", r"lone \ud83d"),
        ("right-to-left \u202e", r"right-to-left \u202e"),
        (b"\x1b[31mred", r"\x1b[31mred"),
        (b'it\'s "quoted"', 'it\'s "quoted"'),
    ],
)
def test_printable(name: str | bytes, expected: str) -> None:
    assert expected == printable(name)


@given(st.one_of(st.binary(), st.text(st.characters())))
def test_printable_is_one_line_that_can_be_encoded(name: str | bytes) -> None:
    shown = printable(name)

    assert shown.isprintable()
    assert shown == printable(shown.encode("utf-8"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.org/a", "https://example.org/a"),
        ("https://token@example.org/a", "https://***@example.org/a"),
        ("https://me:secret@example.org:8080/a", "https://***@example.org:8080/a"),
        ("https://me:se/cret@example.org/a", "https://***@example.org/a"),
        ("https://me:se@cret@example.org/a", "https://***@example.org/a"),
        ("ssh://git@example.org:22/a", "ssh://git@example.org:22/a"),
        ("ssh://git@example.org", "ssh://git@example.org"),
        ("ssh://git:secret@example.org/a", "ssh://***@example.org/a"),
        ("ssh://git@secret@example.org/a", "ssh://***@example.org/a"),
        ("ssh://git@secret:word@example.org/a", "ssh://***@example.org/a"),
        ("git+https://example.org/a/b@v1.0", "git+https://example.org/a/b@v1.0"),
        ("https://example.org:8080/a@v1", "https://example.org:8080/a@v1"),
        ("https://example.org/a?token=secret&x=1#frag", "https://example.org/a?token=***&x=***#frag"),
        ("--index-url=//me:secret@example.org", "--index-url=//***@example.org"),
    ],
)
def test_redact(text: str, expected: str) -> None:
    assert expected == redact(text)


@given(
    st.text(st.characters(exclude_characters="@\n\t /?#", exclude_categories=("Cs", "Z", "C")), min_size=8)
)
def test_a_password_never_survives(password: str) -> None:
    assert password not in redact(f"see https://user:{password}@example.org/simple")


def test_quote_shortens_and_redacts_before_it_cuts() -> None:
    shown = quote("x" * 150 + "https://me:secret-word@example.org/" + "y" * 5000)

    assert len(shown) < 170
    assert "secret" not in shown


@pytest.mark.parametrize("piece", ["//a:x", "?", "&a", "//", "?a&"])
def test_hostile_text_takes_no_time(piece: str) -> None:
    """What looks for its end from every place where it could begin would take hours."""
    text = "@" + piece * 200_000

    assert text == redact(text)
