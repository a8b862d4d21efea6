"""``WWW-Authenticate``, from registries that follow RFC 9110 and from others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.registry.challenge import Challenge, parse_challenges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Basic", [("basic", {})]),
        ('Basic realm="a \\"b\\" c"', [("basic", {"realm": 'a "b" c'})]),
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        ("BEARER Realm = x , SERVICE=y", [("bearer", {"realm": "x", "service": "y"})]),
        ("Negotiate, Basic realm=r", [("negotiate", {}), ("basic", {"realm": "r"})]),
        ("Negotiate YWJj==, Basic realm=r", [("negotiate", {}), ("basic", {"realm": "r"})]),
        ("Basic realm=a, Bearer realm=b", [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})]),
        (", ,Basic realm=a,,", [("basic", {"realm": "a"})]),
        ("Bearer realm=first, realm=second", [("bearer", {"realm": "first"})]),
        ("realm=nobodys", []),
        ("", []),
        ('Bearer realm="open', [("bearer", {})]),
        ("\x00\x01", []),
    ],
)
def test_headers(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [Challenge(*one) for one in expected] == list(parse_challenges([header]))


def test_several_headers() -> None:
    assert ("basic", "bearer") == tuple(
        one.scheme for one in parse_challenges(["Basic realm=a", "Bearer realm=b"])
    )


@given(st.text(max_size=300))
def test_nothing_breaks_it(header: str) -> None:
    for challenge in parse_challenges([header]):
        assert challenge.scheme == challenge.scheme.lower()


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True),
        st.text(st.characters(codec="ascii", exclude_categories=("Cc",))),
    )
)
def test_what_is_quoted_is_read_back(parameters: dict[str, str]) -> None:
    quoted = ",".join(
        f'{name}="{value.replace(chr(92), chr(92) * 2).replace(chr(34), chr(92) + chr(34))}"'
        for name, value in parameters.items()
    )

    assert (Challenge("bearer", parameters),) == parse_challenges([f"Bearer {quoted}"])
