"""nbval's files of replacements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.errors import EnvbuildError, RepoError
from envbuild.outputs.sanitize import parse_replacements

EXAMPLE = r"""[Dates]
regex: \d{1,2}/\d{1,2}/\d{2,4}
replace: DATE-STAMP

; a comment
regex: (seed )\d+
replace: \1N
[Empty]
regex: secret
replace:
"""


def test_replacements_are_made_in_order() -> None:
    text = "3/4/2026 seed 12 secret."
    for replacement in parse_replacements(EXAMPLE, "sanitize.cfg"):
        text = replacement.apply(text)

    assert "DATE-STAMP seed N ." == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", None),
        ("regex: a\n", 1),
        ("[x]\nregex: (\nreplace: b", 2),
        ("regex: a\nreplace: \\1", 1),
        ("regex: a\nreplace: \\g<name>", 1),
    ],
)
def test_what_is_wrong_is_named(text: str, line: int | None) -> None:
    with pytest.raises(RepoError) as caught:
        parse_replacements(text, "sanitize.cfg")

    assert ("bad-sanitizer", "sanitize.cfg", line) == (
        caught.value.code,
        caught.value.file,
        caught.value.line,
    )


@given(st.text(), st.text())
def test_any_file(pattern: str, replacement: str) -> None:
    try:
        for one in parse_replacements(f"regex: {pattern}\nreplace: {replacement}", "file"):
            one.apply("abc")
    except EnvbuildError as error:
        assert "bad-sanitizer" == error.code
