"""What the runner does to notebooks before and after they run; running them is in test_execute.py."""

from __future__ import annotations

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
