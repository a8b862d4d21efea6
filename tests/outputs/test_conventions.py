"""nbval's and nbmake's conventions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.outputs.conventions import CellRules, NotebookRules, cell_rules, notebook_rules


@pytest.mark.parametrize(
    ("source", "tags", "expected"),
    [
        ("1", [], CellRules()),
        ("1", ["nbval-skip"], CellRules(execute=False)),
        ("1", ["skip-execution"], CellRules(execute=False)),
        ("1", ["nbval-ignore-output"], CellRules(compare=False)),
        ("1", ["nbval-check-output"], CellRules(compare=True)),
        ("1", ["raises-exception"], CellRules(may_raise=True)),
        ("1", ["nbval-raises-exception", "nbval-ignore-output"], CellRules(compare=False, may_raise=True)),
        ("%%time\n  #NBVAL_SKIP\n1", [], CellRules(execute=False)),
        ("# NBVAL_RAISES_EXCEPTION\n1", [], CellRules(may_raise=True)),
        ("# PYTEST_VALIDATE_IGNORE_OUTPUT", [], CellRules(compare=False)),
        ("# NBVAL_CHECK_OUTPUT\n# NBVAL_IGNORE_OUTPUT", [], CellRules(compare=False)),
        ("# NBVAL_CHECK_OUTPUT", ["nbval-ignore-output"], CellRules(compare=True)),
        ("x = 'NBVAL_SKIP'\n# NBVAL_SKIP it", ["hide"], CellRules()),
        ("# SKIP_EXECUTION", [], CellRules()),
    ],
)
def test_cells(source: str, tags: list[str], expected: CellRules) -> None:
    assert expected == cell_rules(source, tags)


@pytest.mark.parametrize(
    ("execution", "expected"),
    [
        ({"timeout": 600, "allow_errors": True}, NotebookRules(600, True)),
        ({"timeout": -1}, NotebookRules()),
        ({"timeout": True, "allow_errors": "yes"}, NotebookRules()),
        ({"timeout": float("nan")}, NotebookRules()),
        ([], NotebookRules()),
    ],
)
def test_notebooks(execution: Any, expected: NotebookRules) -> None:
    assert expected == notebook_rules({"execution": execution})


@given(
    st.dictionaries(
        st.sampled_from(["timeout", "allow_errors"]), st.none() | st.floats() | st.integers() | st.text()
    )
)
def test_any_metadata(execution: dict[str, Any]) -> None:
    timeout = notebook_rules({"execution": execution}).timeout
    assert timeout is None or timeout > 0
