"""Names of images."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.errors import UsageError
from envbuild.image.reference import full_name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("demo", "demo:latest"),
        ("demo:1.0", "demo:1.0"),
        ("team/demo", "team/demo:latest"),
        ("localhost:5000/demo", "localhost:5000/demo:latest"),
        ("localhost:5000/a/b-c__d.e:V_1", "localhost:5000/a/b-c__d.e:V_1"),
        ("Registry.Example.ORG/demo", "Registry.Example.ORG/demo:latest"),
    ],
)
def test_names(text: str, expected: str) -> None:
    assert expected == full_name(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "demo:",
        ":1",
        "Demo",
        "de mo",
        "demo:-1",
        "a//b",
        "/demo",
        "demo/",
        "../demo",
        "-demo",
        "a:1:2",
        "é",
        "d" * 256,
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(UsageError):
        full_name(text)


@given(st.text())
def test_whatever_is_accepted_is_accepted_again(text: str) -> None:
    try:
        name = full_name(text)
    except UsageError:
        return
    assert name == full_name(name)
