"""``envbuild verify --notebooks`` in the real image: outputs that are the same, and others on purpose."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.outputs.examples import code, notebook
from tests.support.programs import Envbuild

pytestmark = pytest.mark.network

_PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3], color={colour!r});"
_TABLE = "import pandas as pd\npd.DataFrame({{'height': [1.5, {height}], 'name': ['a', 'b']}})"
# How each cell is when its outputs are stored, and when it is run again; the state it is to have then.
_CELLS = (
    ("0.1 + 0.2", "0.1 + 0.2 + 1e-12", "same"),
    ("object()", "object()", "same"),
    ("import datetime\nprint(datetime.datetime.now())", None, "same"),
    (_TABLE.format(height=2.0), _TABLE.format(height=2.02), "differs"),
    (_PLOT.format(colour="tab:blue"), _PLOT.format(colour="tab:orange"), "differs"),
    ("# NBVAL_IGNORE_OUTPUT\nimport os\nos.urandom(4)", None, "not-compared"),
    ("# NBVAL_SKIP\nraise SystemExit", None, "not-executed"),
    ("# NBVAL_RAISES_EXCEPTION\n{}['key']", None, "same"),
)


@pytest.fixture(scope="module")
def repository(envbuild: Envbuild, quickstart: Path, scratch: Path) -> Path:
    """The quickstart, with outputs, and a notebook that was changed after its outputs were stored."""
    made = scratch / "outputs" / quickstart.name  # the name is locked, too
    shutil.copytree(quickstart, made)
    cells = [code(source, count=None) for source, _, _ in _CELLS]
    path = made / "changed.ipynb"
    path.write_text(json.dumps(notebook(*cells)))
    done = envbuild.run("verify", "--notebooks", made, "--locked", "--accept")
    assert 0 == done.returncode, done.stderr
    assert 2 == done.stdout.count("nothing to compare: ")
    document = json.loads(path.read_text("utf-8"))
    for cell, (_, changed, _) in zip(document["cells"], _CELLS, strict=True):
        cell["source"] = changed or cell["source"]
    path.write_text(json.dumps(document))
    return made


def test_outputs_are_the_same_again(envbuild: Envbuild, repository: Path) -> None:
    before = (repository / "analysis.ipynb").read_bytes()

    done = envbuild.run("verify", "--notebooks", repository, "analysis.ipynb", "--locked")

    assert (0, "same: analysis.ipynb: 5 cells\n") == (done.returncode, done.stdout), done.stderr
    assert before == (repository / "analysis.ipynb").read_bytes()


def test_every_difference_is_found_and_no_other(envbuild: Envbuild, repository: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"

    done = envbuild.run(
        "verify", "--notebooks", repository, "changed.ipynb", "--locked", "--report", page, "--json"
    )

    document: dict[str, Any] = json.loads(done.stdout)
    assert (1, False, "outputs-differ") == (done.returncode, document["reproduced"], document["error"])
    (verdict,) = document["notebooks"]
    assert [state for _, _, state in _CELLS] == [cell["state"] for cell in verdict["cells"]]
    differences = [one for cell in verdict["cells"] for one in cell["differences"]]
    assert ["text", "picture"] == [one["kind"] for one in differences]
    assert "number 2.02 instead of 2.0 (1 %)" == differences[0]["summary"]
    assert 3 == page.read_text("utf-8").count('src="data:image/png;base64,')


def test_a_failure_is_not_a_difference(envbuild: Envbuild, repository: Path) -> None:
    path = repository / "fails.ipynb"
    path.write_text(json.dumps(notebook(code("1"), code("1/0"), code("2"))))

    done = envbuild.run("verify", "--notebooks", repository, "fails.ipynb", "--locked", "--json")

    document: dict[str, Any] = json.loads(done.stdout)
    (verdict,) = document["notebooks"]
    assert (1, "notebook-failed", "cell-failed") == (
        done.returncode,
        document["error"],
        verdict["error"]["error"],
    )
    assert ["differs", "failed", "not-reached"] == [cell["state"] for cell in verdict["cells"]]
    assert "cell 2 (In [2]) failed: ZeroDivisionError" in done.stderr
    path.unlink()
