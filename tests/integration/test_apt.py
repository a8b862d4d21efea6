"""``apt.txt`` for real: packages of Debian are resolved, installed and used; R and Octave run notebooks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.programs import Envbuild

pytestmark = [pytest.mark.network, pytest.mark.slow]

_EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "notebook", "said"),
    [("r-apt", "geyser.ipynb", "33.474"), ("octave", "pendulum.ipynb", "2.01 s per swing")],
)
def test_notebooks_in_other_languages_compute_and_draw(
    envbuild: Envbuild, name: str, notebook: str, said: str, tmp_path: Path
) -> None:
    repository = tmp_path / name
    shutil.copytree(_EXAMPLES / name, repository)

    done = envbuild.run("run", repository, notebook, "-o", tmp_path / "out")

    assert 0 == done.returncode, done.stderr
    cells = json.loads((tmp_path / "out" / notebook).read_text("utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    assert said in json.dumps(outputs)
    assert any("image/png" in output.get("data", {}) for output in outputs)


def test_the_same_layer_twice_and_nothing_is_run_again(
    envbuild: Envbuild, tmp_path: Path, scratch: Path
) -> None:
    """Another cache, and so another run of every maintainer script, gives the same image."""
    repository = tmp_path / "tools"
    repository.mkdir()
    (repository / "apt.txt").write_text("jq\n")
    (repository / "requirements.txt").write_text("six\n")

    first = envbuild.document("build", repository)
    again = envbuild.document("build", repository, "--locked")
    other = Envbuild(tmp_path / "other").document("build", repository, "--locked")

    assert first["image_id"] == again["image_id"] == other["image_id"]
    cached = {layer["title"]: layer["cached"] for layer in again["layers"]}
    assert cached["Debian packages of apt.txt"]
    done = envbuild.run("run", repository, "--locked", "--", "jq", "-n", "6*7")
    assert (0, "42\n") == (done.returncode, done.stdout)
