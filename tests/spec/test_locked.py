"""Markers of locks, where several extras are asked for at once."""

from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet

from envbuild.spec.locked import Dependency, applies

ENVIRONMENT = {"sys_platform": "linux", "python_version": "3.11", "python_full_version": "3.11.2"}


@pytest.mark.parametrize(
    ("marker", "extras", "expected"),
    [
        ("", set(), True),
        ('sys_platform == "win32"', set(), False),
        ('python_version >= "3.9"', set(), True),
        ('extra == "a"', set(), False),
        ('extra == "a"', {"a"}, True),
        ('"A_b" == extra', {"a-b"}, True),
        ('extra == "a" and extra == "b"', {"a"}, False),
        ('extra == "a" and extra == "b"', {"a", "b"}, True),
        ('extra == "a" or extra == "b"', {"b"}, True),
        ('extra == "a" and extra != "b"', {"a", "b"}, False),
        ('extra == "a" and sys_platform == "win32"', {"a"}, False),
    ],
)
def test_markers(marker: str, extras: set[str], expected: bool) -> None:
    assert expected == applies(marker, ENVIRONMENT, frozenset(extras))


def test_a_dependency_allows_what_one_of_its_ranges_does() -> None:
    dependency = Dependency("a", (SpecifierSet("<2"), SpecifierSet(">=3")))

    assert [True, False, True, True] == [dependency.allows(version) for version in ("1", "2", "3", "4b1")]
    assert Dependency("a").allows("1")
