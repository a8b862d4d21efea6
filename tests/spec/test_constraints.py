"""Version constraints of Poetry, as PEP 440 has them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from envbuild.spec.constraints import alternatives


@pytest.mark.parametrize(
    ("constraint", "specifier"),
    [
        ("*", ""),
        (">=*", ""),
        ("1.2", "==1.2"),
        ("=1.2", "==1.2"),
        ("1.2.*", "==1.2.*"),
        ("2.x", "==2.*"),
        ("!=1.2.*", "!=1.2.*"),
        (">=1.2,<2", ">=1.2,<2"),
        (">=1.2 <2", ">=1.2,<2"),
        ("> 1.2, < 2", ">1.2,<2"),
        ("<>1.5", "!=1.5"),
        ("^1.2.3", ">=1.2.3,<2"),
        ("^1.2", ">=1.2,<2"),
        ("^1", ">=1,<2"),
        ("^0.2.3", ">=0.2.3,<0.3"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0.0", ">=0.0,<0.1"),
        ("^0", ">=0,<1"),
        ("^1.2b1", ">=1.2b1,<2"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~1.2", ">=1.2,<1.3"),
        ("~1", ">=1,<2"),
        ("~=1.4.5", "~=1.4.5"),
    ],
)
def test_one_range(constraint: str, specifier: str) -> None:
    assert (SpecifierSet(specifier),) == alternatives(constraint)


@pytest.mark.parametrize("either", ["|", "||", " || "])
def test_several_ranges(either: str) -> None:
    assert (SpecifierSet(">=2.7,<2.8"), SpecifierSet(">=3.6,<4")) == alternatives(f"~2.7{either}^3.6")


@pytest.mark.parametrize("text", ["", "snake", "^", "^snake", ">=1,,<2 snake", "1 - 2", "1" * 1000, ">=\0"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        alternatives(text)


@settings(max_examples=60)
@given(st.text(alphabet="^~=<>!*x|, .0123ab-\n", max_size=20))
def test_anything_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert all(isinstance(one, SpecifierSet) for one in alternatives(text))
