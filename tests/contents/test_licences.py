"""Licences: what is translated, and what is left as it was stated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.contents.licences import Licence, stated_licence

_APPROVED = "License :: OSI Approved :: "


@pytest.mark.parametrize(
    ("expression", "statement", "classifiers", "expected"),
    [
        ("MIT", "", (), "MIT"),
        ("mit or apache-2.0", "", (), "MIT OR Apache-2.0"),
        ("BSD-3-Clause AND 0BSD", "something else", (), "BSD-3-Clause AND 0BSD"),
        ("", "MIT", (), "MIT"),
        ("", "The MIT License", (), "MIT"),
        ("", "Apache License, Version 2.0", (), "Apache-2.0"),
        ("", "BSD 3-Clause License\n\nCopyright (c) 2008\nAll rights reserved.", (), "BSD-3-Clause"),
        ("", "GPLv3+", (), "GPL-3.0-or-later"),
        ("", "", (f"{_APPROVED}MIT License",), "MIT"),
        ("", "UNKNOWN", (f"{_APPROVED}Mozilla Public License 2.0 (MPL 2.0)",), "MPL-2.0"),
        ("", "======\nThe project is licensed as below", (f"{_APPROVED}ISC License (ISCL)",), "ISC"),
    ],
)
def test_what_has_one_meaning_is_an_spdx_expression(
    expression: str, statement: str, classifiers: tuple[str, ...], expected: str
) -> None:
    assert Licence(expected, spdx=True) == stated_licence(expression, statement, classifiers)


@pytest.mark.parametrize(
    ("expression", "statement", "classifiers", "expected"),
    [
        ("Something-of-mine", "", (), "Something-of-mine"),
        ("", "BSD", (), "BSD"),
        ("", "", (f"{_APPROVED}BSD License",), "BSD License"),
        ("", "", (f"{_APPROVED}MIT License", f"{_APPROVED}Apache Software License"), "Apache-2.0 / MIT"),
        ("", "see\tthe\nweb site", (), "see the"),
        ("", "L" * 200, (), "L" * 80 + "…"),
    ],
)
def test_everything_else_is_as_it_was_stated(
    expression: str, statement: str, classifiers: tuple[str, ...], expected: str
) -> None:
    assert Licence(expected, spdx=False) == stated_licence(expression, statement, classifiers)


@pytest.mark.parametrize("statement", ["", "  \n ", "UNKNOWN", "None", "=====\n-----"])
def test_nothing_stated_is_no_licence(statement: str) -> None:
    assert stated_licence("", statement, ("Topic :: Text Processing",)) is None


@given(st.text(), st.text(), st.lists(st.text() | st.builds(_APPROVED.__add__, st.text())))
def test_anything_at_all_gives_one_short_line(
    expression: str, statement: str, classifiers: list[str]
) -> None:
    found = stated_licence(expression, statement, classifiers)

    assert found is None or (found.text.isprintable() and len(found.text) <= 400)
