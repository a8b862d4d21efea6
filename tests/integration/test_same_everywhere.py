"""One repository on a laptop, in CI and on a hub: the same environment, and the same results."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from envbuild.fingerprint.program import difference_lines, differences
from tests.support.jupyterhub import HubPrograms, jupyterhub
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


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of the notebooks in one place: outputs of code cells, and the fingerprint that they printed.

    ``image_id`` is the engine's, where the engine says which image it runs.
    """

    outputs: Outputs
    fingerprint: dict[str, Any]
    image_id: str | None = None


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


def _stored(directory: Path) -> Outputs:
    """The outputs in the executed notebooks of ``directory``."""
    stored = {}
    for name in _NOTEBOOKS:
        content = json.loads((directory / f"{name}.ipynb").read_text("utf-8"))
        stored[name] = [cell["outputs"] for cell in content["cells"] if cell["cell_type"] == "code"]
    return stored


def _seen(outputs: Outputs, image_id: str | None = None) -> Seen:
    plain = {name: [_joined(cell) for cell in cells] for name, cells in outputs.items()}
    (printed,) = plain["environment"].pop()
    return Seen(plain, json.loads(printed["text"]), image_id)


def _joined(cell: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Text that belongs together in one piece: how it is cut is a matter of time, and of how it is stored."""
    joined: list[dict[str, Any]] = []
    for output in cell:
        data = output.get("data", {})
        whole = {kind: "".join(value) if isinstance(value, list) else value for kind, value in data.items()}
        output = {**output, "data": whole} if whole else dict(output)
        if output["output_type"] == "stream":
            output["text"] = "".join(output["text"])
            if joined and joined[-1].get("name") == output["name"]:
                joined[-1]["text"] += output["text"]
                continue
        joined.append(output)
    return joined


@pytest.fixture(scope="module")
def on_the_laptop(envbuild: Envbuild, suite: Suite, scratch: Path) -> Seen:
    """By ``envbuild run`` with bubblewrap."""
    names = [f"{name}.ipynb" for name in _NOTEBOOKS]
    out = scratch / "laptop"
    envbuild.document("run", suite.repository, *names, "-o", out, "--engine", "bubblewrap")
    return _seen(_stored(out))


@pytest.fixture(scope="module")
def in_ci(suite: Suite, docker_host: str, scratch: Path) -> Seen:
    """By ``docker run``, with nothing but the image."""
    docker = {"DOCKER_HOST": docker_host}
    out = scratch / "ci"
    out.mkdir()
    out.chmod(0o777)
    names = [f"{name}.ipynb" for name in _NOTEBOOKS]
    run = ("docker", "run", "--rm", "--volume", f"{out}:/out", suite.image)
    execute = ("jupyter", "nbconvert", "--to", "notebook", "--execute", "--output-dir", "/out", *names)
    output_of(*run, *execute, environment=docker)
    inspect = ("docker", "image", "inspect", "--format", "{{.Id}}", suite.image)
    return _seen(_stored(out), output_of(*inspect, environment=docker).strip())


@pytest.fixture(scope="module")
def on_the_hub(hub_programs: HubPrograms, suite: Suite, docker_host: str, scratch: Path) -> Seen:
    """In the server of a user of a hub, whose home directory is a volume that was used before."""
    home = scratch / "home-of-4711"
    home.mkdir()
    (home / "notes.txt").write_text("from last time")
    os.chown(home, 4711, 100)
    volumes = {str(home): "/home/jovyan"}
    with (
        jupyterhub(hub_programs, docker_host, image=suite.image, user=_USER, volumes=volumes) as hub,
        hub.server("somebody") as server,
    ):
        assert "<title>JupyterLab</title>" in hub.page("somebody", "/user/somebody/lab")
        inspect = ("docker", "inspect", "--format", "{{.Image}}", "jupyter-somebody")
        identity = output_of(*inspect, environment={"DOCKER_HOST": docker_host}).strip()
        return _seen({name: server.execute(f"{name}.ipynb") for name in _NOTEBOOKS}, identity)


def _differing(one: Seen, other: Seen) -> list[str]:
    """The cells whose outputs differ, with the beginning of both: a whole picture helps nobody."""
    return [
        f"{name}, cell {number}: {json.dumps(first)[:2000]}\n{json.dumps(second)[:2000]}"
        for name in _NOTEBOOKS
        for number, (first, second) in enumerate(zip(one.outputs[name], other.outputs[name], strict=True))
        if first != second
    ]


def test_environments_and_results_are_the_same(
    suite: Suite, on_the_laptop: Seen, in_ci: Seen, on_the_hub: Seen
) -> None:
    """Fingerprints are equal, and so are all outputs, pictures byte for byte."""
    laptop, ci, hub = (seen.fingerprint for seen in (on_the_laptop, in_ci, on_the_hub))
    for other in (ci, hub):
        assert [] == difference_lines(differences(laptop["environment"], other["environment"]))
    assert 1 == len({document["digest"] for document in (laptop, ci, hub)})
    assert [] == _differing(on_the_laptop, in_ci)
    assert [] == _differing(on_the_laptop, on_the_hub)
    shown = [output for cell in on_the_hub.outputs["picture"] for output in cell]
    assert 2 == sum("image/png" in output.get("data", {}) for output in shown)

    lock = hashlib.sha256(Path(suite.document["lock"]).read_bytes()).hexdigest()
    assert {f"sha256:{lock}"} == {document["image"]["lock"] for document in (laptop, ci, hub)}
    assert suite.document["env"] == hub["environment"]["identity"]["environment"]
    assert [suite.document["image_id"]] * 2 == [in_ci.image_id, on_the_hub.image_id]
    assert (4711, 100, suite.image) == (
        hub["machine"]["user"],
        hub["machine"]["group"],
        hub["machine"]["variables"]["JUPYTER_IMAGE_SPEC"],
    )


def test_a_fingerprint_made_here_is_compared_with_in_a_container(
    envbuild: Envbuild, suite: Suite, on_the_laptop: Seen, docker_host: str, scratch: Path
) -> None:
    """Outside a kernel it is the same as in one; who changes the container is told what is different."""
    printed = envbuild.run("fingerprint", suite.repository, "--files")
    assert 0 == printed.returncode, printed.stderr
    assert on_the_laptop.fingerprint["digest"] == json.loads(printed.stdout)["digest"]
    saved = scratch / "here.json"
    saved.write_text(printed.stdout)

    def compared(*options: str, command: str) -> tuple[int, str]:
        run = ["docker", "run", "--rm", "--volume", f"{saved}:/tmp/here.json:ro", *options, suite.image]
        done = subprocess.run(
            [*run, "sh", "-c", command],
            env={**os.environ, "DOCKER_HOST": docker_host},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    against = "envbuild-fingerprint --against /tmp/here.json"
    same = f"the same: {on_the_laptop.fingerprint['digest']}\n"
    home = ("--user", _USER, "--tmpfs", "/home/jovyan:mode=0700,uid=4711", "--workdir", "/tmp")
    assert (0, same) == compared(*home, command=f"umask 077; {against}")
    code, told = compared(
        *("--env", "OMP_NUM_THREADS=1", "--env", "AWS_SECRET_ACCESS_KEY=secret"),
        command=f"pip uninstall --quiet --yes cycler; {against}",
    )
    lines = [line.split("  ")[1] for line in told.splitlines()]
    assert (1, ["- packages cycler", "+ variables OMP_NUM_THREADS"]) == (code, lines)
