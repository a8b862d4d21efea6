"""``envbuild run``: notebooks without a browser."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.programs import Envbuild

pytestmark = pytest.mark.network

_EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def failing(quickstart: Path, scratch: Path) -> Path:
    """The quickstart with a second notebook whose third cell fails."""
    repository = scratch / "failing" / quickstart.name  # the name is locked, too
    shutil.copytree(quickstart, repository)
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": ["# It fails"]},
        *(
            {
                "cell_type": "code",
                "execution_count": None,
                "id": f"c{number}",
                "metadata": {},
                "outputs": [],
                "source": [source],
            }
            for number, source in enumerate(("one = 1", "one / (one - 1)", "print('never')"))
        ),
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (repository / "failing.ipynb").write_text(json.dumps(notebook))
    return repository


def test_executed_notebook_is_written(envbuild: Envbuild, quickstart: Path, tmp_path: Path) -> None:
    """With outputs, a plot among them; the original is not touched."""
    before = (quickstart / "analysis.ipynb").read_bytes()
    done = envbuild.run("run", quickstart, "analysis.ipynb", "--locked", "-o", tmp_path / "out")
    assert 0 == done.returncode, done.stderr
    cells = json.loads((tmp_path / "out" / "analysis.ipynb").read_text("utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert before == (quickstart / "analysis.ipynb").read_bytes()


def test_failing_cell_is_reported(envbuild: Envbuild, failing: Path, tmp_path: Path) -> None:
    """Exit code 1; the message names the notebook, the cell and the error; later cells did not run."""
    done = envbuild.run("run", failing, "failing.ipynb", "--locked", "-o", tmp_path / "out")
    assert 1 == done.returncode, done.stderr
    for expected in ("failing.ipynb", "cell 3", "ZeroDivisionError", "one / (one - 1)"):
        assert expected in done.stderr
    cells = json.loads((tmp_path / "out" / "failing.ipynb").read_text("utf-8"))["cells"]
    assert [] == cells[-1]["outputs"]


def test_command_instead_of_a_notebook(envbuild: Envbuild, quickstart: Path) -> None:
    """Its output and its exit code come through."""
    code = "import pandas, sys; print(pandas.__name__); sys.exit(7)"
    done = envbuild.run("run", quickstart, "--locked", "--", "python3", "-c", code)
    assert (7, "pandas\n") == (done.returncode, done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "notebook"),
    [
        ("binder-folder", "index.ipynb"),
        ("inferred", "holidays.ipynb"),
        ("pyproject-groups", "notebooks/report.ipynb"),
    ],
)
def test_example_runs(envbuild: Envbuild, name: str, notebook: str, tmp_path: Path) -> None:
    """Locked afresh, built and executed."""
    repository = Path(shutil.copytree(_EXAMPLES / name, tmp_path / name))
    done = envbuild.run("run", repository, notebook, "-o", tmp_path / "out")
    assert 0 == done.returncode, done.stderr
