"""``envbuild run``: notebooks without a browser."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from envbuild.notebook.provenance import read_provenance
from tests.support.programs import Envbuild

pytestmark = pytest.mark.network

_EXAMPLES = Path(__file__).parents[2] / "examples"


def _write(path: Path, *sources: str) -> None:
    """A notebook of a text cell and these code cells."""
    code = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": ["# Text"]},
        *({**code, "id": f"c{number}", "source": [source]} for number, source in enumerate(sources)),
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook))


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def troubled(quickstart: Path, scratch: Path) -> Path:
    """The quickstart with notebooks that fail and need memory."""
    repository = scratch / "troubled" / quickstart.name  # the name is locked, too
    shutil.copytree(quickstart, repository)
    _write(repository / "failing.ipynb", "one = 1", "one / (one - 1)", "print('never')")
    # Not more than a machine has, and until somebody has seen it.
    hungry = "import numpy, time\nkept = numpy.ones(1 << 28)\ntime.sleep(3600)"
    _write(repository / "hungry.ipynb", "print('before')", hungry)
    return repository


def test_executed_notebook_is_written(envbuild: Envbuild, quickstart: Path, tmp_path: Path) -> None:
    """With outputs, a plot among them, what it ran in, and as a page; the original is not touched."""
    before = (quickstart / "analysis.ipynb").read_bytes()
    found = envbuild.document(
        *("run", quickstart, "analysis.ipynb", "--locked", "-o", tmp_path, "--html"),
        *("--input", "data/", "-p", "year", "2020", "-p", "api_key", "hunter2"),
    )
    executed = _read(tmp_path / "analysis.ipynb")
    outputs = [output for cell in executed["cells"] for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert before == (quickstart / "analysis.ipynb").read_bytes()

    record = read_provenance(executed["metadata"])
    assert record is not None
    lock = hashlib.sha256((quickstart / "envbuild.lock").read_bytes()).hexdigest()
    assert (f"sha256:{lock}", {"year": 2020, "api_key": "***"}) == (record.lock, record.parameters)
    digests = {
        f"data/{path.name}": "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((quickstart / "data").iterdir())
    }
    assert digests == record.inputs

    page = (tmp_path / "analysis.html").read_text("utf-8")
    assert "data:image/png" in page
    assert [] == re.findall(r'<(?:script|link|img)\b[^>]*?\b(?:src|href)="(?!data:)[^"]*"', page)
    (notebook,) = found["notebooks"]
    assert ("passed", str(tmp_path / "analysis.html")) == (notebook["outcome"], notebook["html"])
    assert "hunter2" not in page + json.dumps(executed) + json.dumps(found)


def test_the_same_run_gives_the_same_file(envbuild: Envbuild, quickstart: Path, tmp_path: Path) -> None:
    """Byte for byte, without times."""
    for place in ("one", "two"):
        arguments = ("run", quickstart, "analysis.ipynb", "--locked", "--no-times", "-o", tmp_path / place)
        assert 0 == envbuild.run(*arguments).returncode
    one, two = ((tmp_path / place / "analysis.ipynb").read_bytes() for place in ("one", "two"))
    assert one == two


def test_several_notebooks_at_once(envbuild: Envbuild, troubled: Path, tmp_path: Path) -> None:
    """One fails, and is told with notebook, cell, line and error; the other passes."""
    done = envbuild.run(
        *("run", troubled, "--locked", "-o", tmp_path / "out", "-j", "2", "--junit", tmp_path / "report.xml"),
        *("failing.ipynb", "anal*.ipynb", "./failing.ipynb"),
    )
    assert 1 == done.returncode, done.stderr
    for expected in (
        "error: failing.ipynb: cell 3 (In [2]), line 1, failed: ZeroDivisionError: division by zero",
        "----> 1 one / (one - 1)",
        "notebooks: 1 passed, 1 failed",
    ):
        assert expected in done.stderr
    assert [] == _read(tmp_path / "out/failing.ipynb")["cells"][-1]["outputs"]
    assert f"{tmp_path}/out/analysis.ipynb\n" == done.stdout
    cases = ElementTree.parse(tmp_path / "report.xml").iter("testcase")
    assert {"failing.ipynb": ["failure"], "analysis.ipynb": []} == {
        case.get("name"): [child.tag for child in case] for case in cases
    }


@pytest.mark.parametrize("engine", ["bubblewrap", pytest.param("docker", marks=pytest.mark.docker)])
def test_memory_is_limited(
    envbuild: Envbuild, troubled: Path, tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    """The kernel goes, and what ran until then stays."""
    variables = {}
    if engine == "docker":
        variables["DOCKER_HOST"] = request.getfixturevalue("docker_host")
    program = replace(envbuild, environment={**envbuild.environment, **variables})
    arguments = ("run", troubled, "hungry.ipynb", "--locked", "-o", tmp_path, "--json")
    done = program.run(*arguments, "--memory", "500M", "--engine", engine)
    assert 1 == done.returncode, done.stderr
    (notebook,) = json.loads(done.stdout)["notebooks"]
    assert ("out-of-memory", "cell 3 (In [2]) needed more memory than allowed, so the kernel was ended") == (
        notebook["error"]["error"],
        notebook["error"]["message"],
    )
    assert ["before\n"] == _read(tmp_path / "hungry.ipynb")["cells"][1]["outputs"][0]["text"]


def test_what_ran_until_ctrl_c_is_written(envbuild: Envbuild, troubled: Path, tmp_path: Path) -> None:
    """And nothing runs any longer."""
    (troubled / "reached").unlink(missing_ok=True)
    _write(
        troubled / "slow.ipynb",
        "print('before')",
        "import time; open('reached', 'w').close(); time.sleep(600)",
    )
    with envbuild.start("run", troubled, "slow.ipynb", "--locked", "-o", tmp_path) as running:
        while not (troubled / "reached").exists():
            assert running.poll() is None
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=600)
    assert 130 == running.returncode, said
    assert f"what was run until then is in {tmp_path}/slow.ipynb" in said
    assert ["before\n"] == _read(tmp_path / "slow.ipynb")["cells"][1]["outputs"][0]["text"]


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
