"""New outputs in old notebooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envbuild.errors import MachineError
from envbuild.outputs.accept import accept
from envbuild.outputs.verdict import CellVerdict, NotebookVerdict, State
from tests.outputs.examples import code, notebook, stream


def verdict(*cells: State) -> NotebookVerdict:
    made = tuple(CellVerdict(number, number, "", state) for number, state in enumerate(cells, 1))
    return NotebookVerdict("a.ipynb", "differs", made)


def result(value: str, count: int | None) -> dict[str, Any]:
    return {
        "output_type": "execute_result",
        "metadata": {},
        "data": {"text/plain": value},
        "execution_count": count,
    }


def accepted(tmp_path: Path, stored: dict[str, Any], executed: dict[str, Any], *cells: State) -> Any:
    (tmp_path / "a.ipynb").write_text(json.dumps(stored))
    (tmp_path / "a.ipynb").chmod(0o640)
    assert accept(tmp_path, verdict(*cells), stored, executed)
    assert 0o640 == (tmp_path / "a.ipynb").stat().st_mode & 0o777
    return json.loads((tmp_path / "a.ipynb").read_text())


def test_only_outputs_that_differ_are_written(tmp_path: Path) -> None:
    stored = notebook(
        code("a", result("1", 5), count=5),
        code("b", result("2", 9), count=9, tags=["mine"]),
        code("c", stream("kept"), count=2),
        kernelspec={"name": "x"},
    )
    executed = notebook(
        code("a", result("1.0", 1), count=1),
        code("b", result("3", 2), count=2, tags=["other"]),
        code("c", count=None),
        envbuild={"version": "1"},
    )

    expected = notebook(
        code("a", result("1", 1), count=1),
        code("b", result("3", 2), count=2, tags=["mine"]),
        code("c", stream("kept"), count=2),
        kernelspec={"name": "x"},
    )
    assert expected == accepted(tmp_path, stored, executed, "same", "differs", "not-executed")


def test_a_notebook_without_numbers_stays_so(tmp_path: Path) -> None:
    stored = notebook(code("a", result("1", None), count=None), code("b", count=None))
    executed = notebook(code("a", result("2", 1), count=1), code("b", count=2))

    expected = notebook(code("a", result("2", None), count=None), code("b", count=None))
    assert expected == accepted(tmp_path, stored, executed, "differs", "nothing-stored")


def test_a_notebook_that_was_never_run_gets_all(tmp_path: Path) -> None:
    executed = notebook(code("a", result("é", 1), count=1))

    assert executed == accepted(tmp_path, notebook(code("a", count=None)), executed, "nothing-stored")
    assert "é" in (tmp_path / "a.ipynb").read_text("utf-8")
    assert ["a.ipynb"] == [path.name for path in tmp_path.iterdir()]


def test_nothing_to_accept(tmp_path: Path) -> None:
    assert not accept(tmp_path, verdict("same"), notebook(code("a")), notebook(code("a")))


@pytest.mark.parametrize("link", ["directory", "file"])
def test_a_link_that_was_put_in_its_place_is_not_followed(tmp_path: Path, link: str) -> None:
    """What a notebook's code can do to the repository while it runs."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    for directory in (outside, inside):
        directory.mkdir()
    (outside / "a.ipynb").write_text("mine")
    if link == "directory":
        (inside / "sub").symlink_to(outside)
    else:
        (inside / "sub").mkdir()
        (inside / "sub/a.ipynb").symlink_to(outside / "a.ipynb")
    one = NotebookVerdict("sub/a.ipynb", "differs", verdict("differs").cells)

    with pytest.raises(MachineError) as caught:
        accept(inside, one, notebook(code("a")), notebook(code("a", stream("x"))))

    assert ("changed-while-reading", "mine") == (caught.value.code, (outside / "a.ipynb").read_text())
