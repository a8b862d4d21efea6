"""``envbuild verify --notebooks`` in the real image: outputs that are the same, and others on purpose."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
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
    """The quickstart, with outputs; a notebook that was changed since they were stored; one that fails."""
    made = scratch / "outputs" / quickstart.name  # the name is locked, too
    shutil.copytree(quickstart, made)
    path = made / "changed.ipynb"
    path.write_text(json.dumps(notebook(*(code(source, count=None) for source, _, _ in _CELLS))))
    done = envbuild.run("verify", "--notebooks", made, "--locked", "--accept")
    assert 0 == done.returncode, done.stderr
    assert 2 == done.stdout.count("nothing to compare: ")
    document = json.loads(path.read_text("utf-8"))
    for cell, (_, changed, _) in zip(document["cells"], _CELLS, strict=True):
        cell["source"] = changed or cell["source"]
    path.write_text(json.dumps(document))
    (made / "fails.ipynb").write_text(json.dumps(notebook(code("1"), code("1/0"), code("2"))))
    return made


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of verifying the repository: by notebook, the rest of the document, messages, the report."""

    notebooks: dict[str, dict[str, Any]]
    document: dict[str, Any]
    messages: str
    page: str


@pytest.fixture(scope="module")
def verified(envbuild: Envbuild, repository: Path, scratch: Path) -> Verified:
    before = {path.name: path.read_bytes() for path in repository.glob("*.ipynb")}
    page = scratch / "report.html"
    done = envbuild.run("verify", "--notebooks", repository, "--locked", "--report", page, "--json")
    assert 1 == done.returncode, done.stderr
    assert before == {path.name: path.read_bytes() for path in repository.glob("*.ipynb")}
    document: dict[str, Any] = json.loads(done.stdout)
    notebooks = {one["notebook"]: one for one in document["notebooks"]}
    return Verified(notebooks, document, done.stderr, page.read_text("utf-8"))


def test_outputs_are_the_same_again(verified: Verified) -> None:
    """Tables, numbers and a plot of the quickstart."""
    one = verified.notebooks["analysis.ipynb"]

    assert ("same", None, ["same"] * 5) == (
        one["outcome"],
        one["error"],
        [cell["state"] for cell in one["cells"]],
    )


def test_every_difference_is_found_and_no_other(verified: Verified) -> None:
    one = verified.notebooks["changed.ipynb"]

    assert ("differs", "outputs-differ") == (one["outcome"], one["error"]["error"])
    assert [state for _, _, state in _CELLS] == [cell["state"] for cell in one["cells"]]
    differences = [difference for cell in one["cells"] for difference in cell["differences"]]
    assert ["text", "picture"] == [difference["kind"] for difference in differences]
    assert "number 2.02 instead of 2.0 (1 %)" == differences[0]["summary"]
    assert 3 == verified.page.count('src="data:image/png;base64,')


def test_a_failure_is_not_a_difference(verified: Verified) -> None:
    one = verified.notebooks["fails.ipynb"]

    assert ("failed", "cell-failed") == (one["outcome"], one["error"]["error"])
    assert ["differs", "failed", "not-reached"] == [cell["state"] for cell in one["cells"]]
    assert 1 == verified.messages.count("cell 2 (In [2]), line 1, failed: ZeroDivisionError")
    assert (False, "notebook-failed") == (verified.document["reproduced"], verified.document["error"])
