"""One repository on a laptop, in CI and on a hub: the same environment, and the same results."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from envbuild.fingerprint.program import difference_lines, differences
from tests.support.jupyterhub import Hub, HubPrograms, jupyterhub
from tests.support.programs import Envbuild, output_of

pytestmark = [pytest.mark.network, pytest.mark.docker]

# Sources of cells by notebook. What they show depends on everything that is often different between machines.
_NOTEBOOKS = {
    "text": (
        "import sys, textwrap\nprint(textwrap.fill('ä ö — 日本語 ' * 9, 40))",
        "print('warned', file=sys.stderr)",
        "{'one', 'two', 'three', 'four'}, sorted('zäÄaZ'), hash('text')",
        "from datetime import datetime\n"
        "datetime.fromtimestamp(0).astimezone().isoformat(), f'{datetime(2026, 3, 1):%A %x}'",
        "open('written.txt', 'w').write('ä')\nopen('written.txt', 'rb').read()",
        "import random\nrandom.seed(1)\n[random.random() for _ in range(3)]",
        "1 / 0",
    ),
    "numbers": (
        "import numpy as np\na = np.random.default_rng(1).normal(size=(300, 300))",
        "a.sum().hex(), a.mean(axis=0)[:3]",
        "(a @ a).sum().hex(), np.linalg.svd(a, compute_uv=False)[:3].tolist()",
        "np.linalg.solve(a, a[0])[:3].tolist(), np.fft.fft(a[0])[:2].tolist(), np.exp(a).sum().hex()",
    ),
    "picture": (
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nimport numpy as np\nx = np.linspace(0, 6, 200)",
        "figure, axes = plt.subplots()\naxes.plot(x, np.sin(x), label='$\\\\sin x$ äöü')\naxes.legend()\n"
        "axes.set_title('A title')\nplt.show()",
        "import matplotlib\nfrom matplotlib.font_manager import findfont\n"
        "matplotlib.get_backend(), findfont('serif'), findfont('monospace')",
        "plt.imshow(np.random.default_rng(1).random((8, 8)));",
    ),
    "environment": (
        "import locale, os, sys, time\nsys.version, sys.executable, sys.path, sys.flags.hash_randomization",
        "locale.setlocale(locale.LC_ALL, ''), locale.getpreferredencoding(), time.tzname",
        "sys.getfilesystemencoding(), sys.stdout.encoding, os.path.exists('/etc/localtime')",
        "!which python3 pip jupyter; python3 --version; locale 2>/dev/null | head -3",
        "os.getcwd(), os.environ['PATH'], os.environ.get('OMP_NUM_THREADS')",
        "!envbuild-fingerprint --files",
    ),
}
_USER = "4711:100"


@dataclass(frozen=True, slots=True)
class Suite:
    """A repository, the ``image`` of it in a registry by digest, and what ``envbuild build --json`` said."""

    repository: Path
    image: str
    document: dict[str, Any]


Outputs = dict[str, list[list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def suite(envbuild: Envbuild, registry: str, scratch: Path) -> Suite:
    """A repository with the notebooks, and its image for old engines."""
    repository = scratch / "suite"
    repository.mkdir()
    (repository / "requirements.txt").write_text("numpy\nmatplotlib\n")
    metadata = {"kernelspec": {"name": "suite", "display_name": "Suite", "language": "python"}}
    for name, sources in _NOTEBOOKS.items():
        cells = [new_code_cell(source, id=f"c{number}") for number, source in enumerate(sources)]
        if sources[-1] == "1 / 0":
            cells[-1].metadata["tags"] = ["raises-exception"]
        title = new_markdown_cell(f"# {name}", id="title")
        nbformat.write(new_notebook(cells=[title, *cells], metadata=metadata), repository / f"{name}.ipynb")
    name = f"{registry}/team/suite"
    arguments = ("build", repository, "--platform", "linux/amd64", "--compression", "gzip")
    document = envbuild.document(*arguments, "--tag", f"{name}:1", "--push")
    return Suite(repository, f"{name}@{document['digest']}", document)


@pytest.fixture(scope="module")
def hub(hub_programs: HubPrograms, suite: Suite, docker_host: str, scratch: Path) -> Iterator[Hub]:
    """A hub whose users have a home directory of their own that was used before."""
    home = scratch / "home-of-4711"
    home.mkdir()
    (home / "notes.txt").write_text("from last time")
    os.chown(home, 4711, 100)
    with jupyterhub(
        hub_programs, docker_host, image=suite.image, user=_USER, volumes={str(home): "/home/jovyan"}
    ) as running:
        yield running


def _outputs(notebook: Path) -> list[list[dict[str, Any]]]:
    content = json.loads(notebook.read_text("utf-8"))
    return [cell["outputs"] for cell in content["cells"] if cell["cell_type"] == "code"]


def _plain(outputs: Outputs) -> Outputs:
    """Pieces of text that belong together in one piece: how they are cut is a matter of time."""
    plain: Outputs = {}
    for name, cells in outputs.items():
        plain[name] = []
        for cell in cells:
            joined: list[dict[str, Any]] = []
            for output in json.loads(json.dumps(cell)):
                if output["output_type"] == "stream":
                    text = "".join(output["text"])
                    if joined and joined[-1].get("name") == output["name"]:
                        joined[-1]["text"] += text
                        continue
                    output["text"] = text
                for kind, value in output.get("data", {}).items():
                    output["data"][kind] = "".join(value) if isinstance(value, list) else value
                joined.append(output)
            plain[name].append(joined)
    return plain


def _fingerprint(outputs: Outputs) -> dict[str, Any]:
    """Takes the printed fingerprint out of the outputs."""
    (printed,) = outputs["environment"].pop()
    document: dict[str, Any] = json.loads(printed["text"])
    return document


@pytest.fixture(scope="module")
def on_the_laptop(envbuild: Envbuild, suite: Suite, scratch: Path) -> Outputs:
    """By ``envbuild run`` with bubblewrap."""
    names = [f"{name}.ipynb" for name in _NOTEBOOKS]
    out = scratch / "laptop"
    envbuild.document("run", suite.repository, *names, "-o", out, "--engine", "bubblewrap")
    return _plain({name: _outputs(out / f"{name}.ipynb") for name in _NOTEBOOKS})


@pytest.fixture(scope="module")
def in_ci(suite: Suite, docker_host: str, scratch: Path) -> Outputs:
    """By ``docker run``, with nothing but the image."""
    out = scratch / "ci"
    out.mkdir()
    out.chmod(0o777)
    names = [f"{name}.ipynb" for name in _NOTEBOOKS]
    run = ("docker", "run", "--rm", "--volume", f"{out}:/out", suite.image)
    execute = ("jupyter", "nbconvert", "--to", "notebook", "--execute", "--output-dir", "/out", *names)
    output_of(*run, *execute, environment={"DOCKER_HOST": docker_host})
    return _plain({name: _outputs(out / f"{name}.ipynb") for name in _NOTEBOOKS})


@pytest.fixture(scope="module")
def on_the_hub(hub: Hub) -> Outputs:
    """In the server of a user of the hub."""
    with hub.server("somebody") as server:
        return _plain({name: server.execute(f"{name}.ipynb") for name in _NOTEBOOKS})


def test_environments_and_results_are_the_same(
    suite: Suite, on_the_laptop: Outputs, in_ci: Outputs, on_the_hub: Outputs
) -> None:
    """Fingerprints are equal, and so are all outputs, pictures byte for byte."""
    laptop, ci, hub = (_fingerprint(outputs) for outputs in (on_the_laptop, in_ci, on_the_hub))
    for other in (ci, hub):
        assert [] == difference_lines(differences(laptop["environment"], other["environment"]))
    assert 1 == len({document["digest"] for document in (laptop, ci, hub)})
    assert suite.document["env"] == hub["environment"]["identity"]["environment"]
    lock = hashlib.sha256(Path(suite.document["lock"]).read_bytes()).hexdigest()
    assert f"sha256:{lock}" == hub["image"]["lock"]
    assert (4711, 100) == (hub["machine"]["user"], hub["machine"]["group"])
    for name in _NOTEBOOKS:
        assert on_the_laptop[name] == in_ci[name], f"{name}: laptop and CI"
        assert on_the_laptop[name] == on_the_hub[name], f"{name}: laptop and hub"
    shown = [output for cell in on_the_hub["picture"] for output in cell]
    assert 2 == sum("image/png" in output.get("data", {}) for output in shown)
