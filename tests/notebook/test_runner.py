"""What the runner does to notebooks before and after they run; running them is in test_execute.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from envbuild.notebook import runner


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([[], ["parameters"], []], ["", "parameters", "injected-parameters", ""]),
        ([[], ["injected-parameters"], ["parameters"]], ["", "injected-parameters", "parameters"]),
        ([["parameters", "x"], ["parameters"]], ["parametersx", "injected-parameters", "parameters"]),
        ([[]], ["injected-parameters", ""]),
        ([], ["injected-parameters"]),
    ],
)
def test_parameters_go_where_papermill_puts_them(cells: list[list[str]], expected: list[str]) -> None:
    made = [new_code_cell("0", metadata={"tags": tags} if tags else {}) for tags in cells]
    notebook = new_notebook(cells=made)
    runner._inject(notebook, "x = 1")
    assert expected == ["".join(cell.metadata.get("tags", ())) for cell in notebook.cells]


@pytest.mark.parametrize(
    "parts",
    [
        {"cells": [1]},
        {"cells": 7},
        {"cells": [{"cell_type": "code"}]},
        {"cells": [{"cell_type": "code", "source": "1", "metadata": {"tags": 5}}]},
        {"cells": [{"cell_type": "code", "source": "1", "metadata": []}]},
        {"metadata": {"kernelspec": "python3"}},
        {"metadata": {"kernelspec": {"name": 7}}},
        {"metadata": {"language_info": {"name": ["x"]}}},
        {"metadata": []},
        {"nbformat": 99},
    ],
)
def test_what_is_no_notebook_is_told_and_nothing_starts(tmp_path: Path, parts: dict[str, Any]) -> None:
    document = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **parts}
    (tmp_path / "a.ipynb").write_text(json.dumps(document))
    request = {"path": str(tmp_path / "a.ipynb"), "directory": str(tmp_path), "parameters": None}
    told: list[dict[str, Any]] = []

    failure = runner._execute(
        {**request, "timeout": None, "memory": None, "output": 1, "result": None, "html": None},
        lambda **event: told.append(event),
    )

    assert failure is not None
    assert ("unreadable", []) == (failure["kind"], told)


@pytest.mark.parametrize(("minor", "has_id"), [(4, False), (5, True)])
def test_cells_have_ids_where_the_format_has_them(minor: int, has_id: bool) -> None:
    notebook = new_notebook(nbformat_minor=minor)
    assert has_id == ("id" in runner._inject(notebook, "x = 1"))


@pytest.mark.parametrize(
    ("markdown", "html", "expected"),
    [
        ("It costs $5.", "<b>x</b>", ["mathjax_url", "require_js_url"]),
        ("$x^2$", "", ["require_js_url"]),
        ("\\(x\\)", "", ["require_js_url"]),
        ("", "<script>require(['plotly'])</script>", ["mathjax_url"]),
    ],
)
def test_pages_load_only_what_they_need(markdown: str, html: str, expected: list[str]) -> None:
    output = new_output("display_data", data={"text/html": html})
    cells = [new_markdown_cell(markdown), new_code_cell("", outputs=[output])]
    assert expected == runner._unneeded(new_notebook(cells=cells))


def test_the_size_of_outputs() -> None:
    assert [5, 7, 0] == [
        runner._size({"text": "abcde"}),
        runner._size({"data": {"text/plain": "abc", "application/json": [12]}}),
        runner._size({"name": "stdout"}),
    ]
