"""What may differ in a text."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.outputs.tokens import KINDS, Token, Tolerance, Window, split_tokens
from tests.outputs.examples import STARTED, WINDOW

floats = st.floats(allow_nan=True, allow_infinity=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r = -0.59", [("number", "-0.59")]),
        ("1.5+2.25j", [("number", "1.5"), ("number", "2.25")]),
        ("[1. .5 1e-7]", [("number", "1."), ("number", ".5"), ("number", "1e-7")]),
        ("3-2.5, 7 cells, v1.2.3", [("number", "2.5")]),
        ("<td>0.25</td>", [("number", "0.25")]),
        ("<a.b object at 0x7f3a5c0d2e50>", [("address", "0x7f3a5c0d2e50")]),
        ("mask 0xff00", []),
        ("/tmp/ipykernel_12/345.py:3: W", [("temporary", "/tmp/ipykernel_12/345.py")]),
        ("in /home/ada/work/a.csv, too", [("path", "/home/ada/work/a.csv")]),
        (r"C:\work\a.csv", [("path", r"C:\work\a.csv")]),
        ("https://example.org/a/b", []),
        ("Wall time: 3.2 s", [("duration", "3.2 s")]),
        ("half-life 5.27 s", [("number", "5.27")]),
        ("CPU times: user 12 ms, sys: 3 ms, total: 15 ms", [("duration", f"{n} ms") for n in (12, 3, 15)]),
        ("10/10 [00:01<00:00,  9.97it/s]", [("duration", "[00:01<00:00,  9.97it/s]")]),
        ("took 0.53 seconds", [("duration", "0.53 seconds")]),
        ("2026-11-21T15:50:45.12Z", [("moment", "2026-11-21T15:50:45.12Z")]),
        ("Sat Nov 21 15:50:45 2026", [("moment", "Sat Nov 21 15:50:45 2026")]),
        ("datetime.datetime(2026, 11, 21, 15)", [("moment", "datetime.datetime(2026, 11, 21, 15")]),
        ('<table id="T_a1b2c">', [("unique", "T_a1b2c")]),
        ("sha a94a8fe5ccb19ba61c4c0873d391e987982fbbd3", []),
        ("Cell In[3], line 1", [("unique", "Cell In[3]")]),
    ],
)
def test_tokens_of_a_text(text: str, expected: list[tuple[str, str]]) -> None:
    assert expected == [(token.kind, token.text) for token in split_tokens(text)[1]]


@given(st.text(alphabet="0123456789.-+eE:/<>x abT_\\\n[]"))
def test_nothing_of_a_text_is_lost(text: str) -> None:
    parts, tokens = split_tokens(text)

    assert len(parts) == len(tokens) + 1
    joined = parts[0] + "".join(token.text + part for token, part in zip(tokens, parts[1:], strict=True))
    assert text == joined


@pytest.mark.parametrize(
    "text", ["/a" * 50_000, "1" * 100_000, "1." * 50_000, "at 0x" * 20_000, "Sat, " * 20_000]
)
def test_a_long_text_is_no_trouble(text: str) -> None:
    assert "" in {"", *split_tokens(text)[0]}


@given(floats, floats)
def test_tolerance_is_reflexive_and_symmetric(first: float, second: float) -> None:
    tolerance = Tolerance()

    assert tolerance.allows(first, first)
    assert tolerance.allows(first, second) == tolerance.allows(second, first)


@given(st.floats(min_value=1e-3, max_value=1e6), st.floats(min_value=0, max_value=1e-7))
def test_what_is_within_the_tolerance_is_the_same(value: float, change: float) -> None:
    stored, new = Token("number", repr(value)), Token("number", repr(value * (1 + change)))

    if "." in stored.text and "." in new.text:
        assert stored.same_as(new, Tolerance(), WINDOW)
        assert not stored.same_as(Token("number", repr(value * 1.01)), Tolerance(), WINDOW)


def test_a_hash_that_looks_like_a_large_number_is_none() -> None:
    """Both are infinite, or zero, for floating point."""
    assert not Token("number", "5e400001").same_as(Token("number", "6e400001"), Tolerance(), WINDOW)
    assert not Token("number", "5e-400001").same_as(Token("number", "6e-400001"), Tolerance(), WINDOW)
    assert math.inf != Token("number", "1e3").number == 1000.0


@pytest.mark.parametrize(
    ("new", "same"),
    [
        ("2026-11-21 15:50:31", True),
        ("2026-11-22", True),  # in another time zone
        ("21 Nov 2026", True),
        ("11/21/2026", True),
        ("15:50:31", True),
        ("21:20", True),
        ("2026-11-01", False),
        ("1998-02-03", False),
        ("15:42", False),
        ("99/99/2026", False),
    ],
)
def test_a_moment_may_differ_only_when_it_is_now(new: str, same: bool) -> None:
    assert same == Token("moment", "2024-01-01").same_as(Token("moment", new), Tolerance(), WINDOW)


def test_every_time_is_now_in_a_long_run() -> None:
    assert Window(STARTED, STARTED + timedelta(hours=1)).has("03:04")


@pytest.mark.parametrize(
    ("kind", "stored", "new", "same"),
    [
        ("address", "0x7f0000000001", "0x7f0000000002", True),
        ("duration", "3 s", "4 ms", True),
        ("path", "/home/ada/a.csv", "/srv/repo/a.csv", True),
        ("path", "/home/ada/a.csv", "/srv/repo/b.csv", False),
        ("number", "inf", "inf", True),
    ],
)
def test_other_kinds(kind: str, stored: str, new: str, same: bool) -> None:
    assert same == Token(kind, stored).same_as(Token(kind, new), Tolerance(), WINDOW)


def test_a_kind_that_is_not_looked_for_is_literal() -> None:
    kinds = tuple(kind for kind in KINDS if kind != "address")

    assert (["at 0x7f3a5c0d2e50"], []) == split_tokens("at 0x7f3a5c0d2e50", kinds)
