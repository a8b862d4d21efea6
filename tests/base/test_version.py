from __future__ import annotations

import random
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.base.version import Version, satisfies

# In ascending order; from Debian Policy 5.6.12 and dpkg's own tests.
ASCENDING = [
    "0~~",
    "0~~a",
    "0~",
    "0",
    "0.0-0~1",
    "0.0-0.0",
    "0.0-1",
    "0.0a",
    "0.0+b1",
    "0.9",
    "0.10",
    "1.0~rc1",
    "1.0",
    "1.0-1~deb13u1",
    "1.0-1",
    "1.0-1+b3",
    "1.0-10",
    "1:0",
    "1:0.4-1",
    "10:0",
]


def test_the_policy_order() -> None:
    shuffled = random.Random(0).sample(ASCENDING, len(ASCENDING))

    assert ASCENDING == sorted(shuffled, key=Version)


@pytest.mark.parametrize(
    ("left", "right"), [("1.0", "1.0-0"), ("1.0", "0:1.0"), ("1.01", "1.1"), ("0", "00")]
)
def test_equal_though_written_differently(left: str, right: str) -> None:
    assert Version(left) == Version(right)


@pytest.mark.parametrize(
    ("relation", "expected"),
    [
        ("<<", [True, False, False]),
        ("<=", [True, True, False]),
        ("=", [False, True, False]),
        (">=", [False, True, True]),
        (">>", [False, False, True]),
    ],
)
def test_satisfies(relation: str, expected: list[bool]) -> None:
    assert expected == [satisfies(version, relation, "2.0") for version in ("1.0", "2.0", "2.0-1")]


def test_an_unknown_relation_is_refused() -> None:
    with pytest.raises(ValueError, match="!="):
        satisfies("1", "!=", "1")


versions = st.from_regex(r"([0-9]:)?[0-9][0-9a-z.+~]{0,6}(-[0-9a-z+.~]{1,4})?", fullmatch=True)


@given(versions, versions)
def test_exactly_one_of_less_equal_greater(left: str, right: str) -> None:
    one, other = Version(left), Version(right)

    assert [True] == [fact for fact in (one < other, one == other, one > other) if fact]


@given(versions, versions, versions)
def test_the_order_is_transitive(first: str, second: str, third: str) -> None:
    low, middle, high = sorted(map(Version, (first, second, third)))

    assert low <= middle <= high
    assert low <= high


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="compares with dpkg")
@settings(max_examples=25, deadline=None)
@given(versions, versions)
def test_the_same_answer_as_dpkg(left: str, right: str) -> None:
    outcome = subprocess.run(
        ["dpkg", "--compare-versions", left, "lt", right], check=False, capture_output=True
    )

    assert (outcome.returncode == 0) == (Version(left) < Version(right))
