"""Whether two texts are the same."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.outputs.sanitize import Replacement
from envbuild.outputs.text import compare_texts, diff_lines
from envbuild.outputs.tokens import Tolerance
from tests.outputs.examples import TEXT


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("0.1", "0.1000000000001"),
        ("[1.  2.5]", "[1.00000001 2.5       ]"),
        ("a\n", "a"),
        ("col  1.0 \n x", "col   1.00000000001\n x"),
        ("<a.B at 0x7f0000000001>", "<a.B at 0x7f0000000002>"),
        ("made 2025-01-01 10:00:00 by me", "made 2026-11-21 15:50:31 by me"),
        (
            "2.01 ms ± 174 μs per loop (mean ± std. dev. of 7 runs, 100 loops each)\n",
            "The slowest run took 21.37 times longer than the fastest. It is cached.\n3 ms ± 1 ms per loop\n",
        ),
        ("/home/ada/x/a.py:3: W", "/srv/repo/a.py:3: W"),
    ],
)
def test_the_same(stored: str, new: str) -> None:
    assert None is compare_texts(stored, new, TEXT)


@pytest.mark.parametrize(
    ("stored", "new", "expected"),
    [
        ("r = 0.50", "r = 0.505", "number 0.505 instead of 0.50 (1 %)"),
        ("0.0", "1e-17", "number 1e-17 instead of 0.0 (from zero, or out of range)"),
        ("1.0 2.0", "1.00001 2.5", "number 2.5 instead of 2.0 (25 %, and 1 more)"),
        ("1.0", "1.00001", "number 1.00001 instead of 1.0 (1e-05 relative)"),
        ("7 rows", "8 rows", "'8 rows' instead of '7 rows'"),
        ("until 2024-01-01", "until 2025-01-01", "'2025-01-01' instead of '2024-01-01'"),
        ("a\nb", "a\nc", "line 2: 'c' instead of 'b'"),
        ("0.1\nb", "0.1000000000001\nc", "line 2: 'c' instead of 'b'"),
        ("a", "a\nb", "line 2: 'b' was added"),
        ("a\nb", "a", "line 2: 'b' is missing"),
        ("1.0", "100.0", "number 100.0 instead of 1.0 (9,900 %)"),
        ("y" + "x" * 99, "y" + "x" * 99 + "z", f"'…{'x' * 20}z' instead of '…{'x' * 20}'"),
        ("x" * 90 + "1", "x" * 90 + "2", "'…" + "x" * 20 + "2' instead of '…" + "x" * 20 + "1'"),
    ],
)
def test_what_differs_is_said(stored: str, new: str, expected: str) -> None:
    assert expected == compare_texts(stored, new, TEXT)


def test_tolerances() -> None:
    assert None is compare_texts("1.0", "1.1", replace(TEXT, tolerance=Tolerance(relative=0.1)))
    assert None is compare_texts("0.0", "0.01", replace(TEXT, tolerance=Tolerance(absolute=0.01)))
    assert None is not compare_texts("1.0", "1.0000000001", replace(TEXT, tolerance=Tolerance(relative=0)))


def test_replacements_come_first() -> None:
    rules = replace(TEXT, replacements=(Replacement(re.compile(r"seed \d+"), "SEED"),))

    assert None is compare_texts("seed 1", "seed 22", rules)


@given(st.text(), st.text())
def test_comparing_is_reflexive_symmetric_and_never_fails(stored: str, new: str) -> None:
    assert None is compare_texts(stored, stored, TEXT)
    assert (compare_texts(stored, new, TEXT) is None) == (compare_texts(new, stored, TEXT) is None)
    diff_lines(stored, new, TEXT)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9), min_size=1))
def test_noise_is_tolerated_and_a_percent_is_not(values: list[float]) -> None:
    table = "\n".join(f"row  {value:.10e}" for value in values)
    noisy = "\n".join(f"row {value * (1 + 1e-9):.10e}" for value in values)
    other = "\n".join(f"row {value * 1.01 + 1e-3:.10e}" for value in values)

    assert None is compare_texts(table, noisy, TEXT)
    assert None is not compare_texts(table, other, TEXT)


def test_lines_that_may_differ_are_shown_as_they_were() -> None:
    stored = "at 0x7f0000000001\n1\n2\n3\n4\n0.5\nlast"
    new = "at 0x7f0000000002\n1\n2\n3\n4\n0.6\nlast"

    assert [" 3", " 4", "-0.5", "+0.6", " last"] == diff_lines(stored, new, TEXT)


def test_two_places_have_a_gap_between_them() -> None:
    stored = "\n".join("abcdefghijk")
    new = stored.replace("a", "A").replace("k", "K")

    assert ["-a", "+A", " b", " c", "…", " i", " j", "-k", "+K"] == diff_lines(stored, new, TEXT)


def test_lines_that_look_like_the_head_of_a_diff_are_shown() -> None:
    assert ["--- a", "+-- b"] == diff_lines("-- a", "-- b", TEXT)
    assert [] == diff_lines("same\n", "same", TEXT)


def test_a_long_difference_is_cut() -> None:
    stored, new = ("\n".join(f"{word} {number % 50}" for number in range(100_000)) for word in ("a", "b"))
    lines = diff_lines(stored, new, TEXT)

    assert (401, "-a 0") == (len(lines), lines[0])
    assert lines[-1].endswith("more lines")


def test_colours_do_not_count() -> None:
    assert None is compare_texts("\x1b[31mred\x1b[0m", "red", TEXT)
    assert ["-red", "+blue"] == diff_lines("\x1b[31mred\x1b[0m", "\x1b[34mblue\x1b[0m", TEXT)
