"""The table ``verify``."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.config import load_settings, parse_repository_config
from envbuild.errors import RepoError
from envbuild.outputs.settings import SANITIZERS, OutputSettings, read_output_settings

TABLE = """
[tool.envbuild.verify]
relative-tolerance = 1e-4
sanitize = ["address", "moment"]

[tool.envbuild.verify.notebooks."slow/*.ipynb"]
skip = true

[tool.envbuild.verify.notebooks."maps/*"]
picture-tolerance = 0.01
timeout = 600
"""


def test_the_table_of_a_repository() -> None:
    values = parse_repository_config(pyproject=TABLE, own=None)
    settings = load_settings(flags={}, environment={}, repository=values).verify

    assert (1e-4, ("address", "moment"), False) == (
        settings.relative_tolerance,
        settings.sanitize,
        settings.of("a.ipynb").skip,
    )
    assert settings.of("slow/deep/a.ipynb").skip
    assert (0.01, 600, 1e-4) == (
        settings.of("maps/a.ipynb").picture_tolerance,
        settings.of("maps/a.ipynb").timeout,
        settings.of("maps/a.ipynb").relative_tolerance,
    )


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (1, "must be a table"),
        (
            {"relative-tolerence": 1},
            "has an unknown key 'relative-tolerence'; did you mean 'relative-tolerance'?",
        ),
        ({"relative-tolerance": -1}, "has 'relative-tolerance', which must be a number that is not negative"),
        (
            {"relative-tolerance": True},
            "has 'relative-tolerance', which must be a number that is not negative",
        ),
        ({"picture-tolerance": 2}, "has 'picture-tolerance', which must not be larger than 1"),
        ({"timeout": 0}, "has 'timeout', which must be more than 0 seconds"),
        ({"sanitize": ["adress"]}, f"has 'sanitize', which must be a list of these: {', '.join(SANITIZERS)}"),
        ({"sanitize-with": ""}, "has 'sanitize-with', which must be the path of a file"),
        ({"skip": 1}, "has 'skip', which must be true or false"),
        ({"notebooks": {"a": 1}}, "must have a table for the notebooks 'a'"),
        ({"notebooks": []}, "has 'notebooks', which must be a table"),
    ],
)
def test_what_is_wrong_is_said(table: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=r"must|key") as caught:
        read_output_settings(table)

    assert expected == str(caught.value)


def test_an_error_names_the_line() -> None:
    with pytest.raises(RepoError) as caught:
        parse_repository_config(pyproject='[tool.envbuild.verify]\nskip = "no"\n', own=None)

    assert ("pyproject.toml:1", "bad-setting") == (caught.value.place, caught.value.code)


@given(
    st.dictionaries(
        st.text() | st.sampled_from(["notebooks", "timeout", "sanitize"]),
        st.integers() | st.floats() | st.text() | st.lists(st.text()),
    )
)
def test_any_table(table: dict[str, Any]) -> None:
    try:
        assert isinstance(read_output_settings(table), OutputSettings)
    except ValueError as error:
        assert str(error)
