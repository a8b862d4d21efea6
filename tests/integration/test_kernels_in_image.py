"""The kernels of images: those that notebooks name run, whatever is in the user's home."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.programs import Envbuild

pytestmark = pytest.mark.network

# What a volume of a hub may bring: files that would change what a kernel does, or which one it is.
HOME = """
import json, os, sys, pathlib
home = pathlib.Path.home()
minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
files = {
    ".ipython/profile_default/startup/00-own.py": "intruder = 'startup'",
    ".ipython/profile_default/ipython_config.py": "c.IPKernelApp.exec_lines = ['intruder = 1']",
    ".ipython/profile_default/ipython_kernel_config.py": "c.IPKernelApp.exec_lines = ['intruder = 1']",
    f".local/lib/python{minor}/site-packages/intruder.py": "",
    f".local/lib/python{minor}/site-packages/intruder.pth": "import builtins; builtins.intruder = 'pth'",
    ".local/share/jupyter/kernels/python3/kernel.json": json.dumps(
        {"argv": ["/bin/false"], "display_name": "intruder", "language": "python"}
    ),
    "startup.py": "intruder = 'PYTHONSTARTUP'",
}
for name, text in files.items():
    (home / name).parent.mkdir(parents=True, exist_ok=True)
    (home / name).write_text(text)
os.environ["PYTHONSTARTUP"] = str(home / "startup.py")
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(startup_timeout=600, kernel_name="python3")
def hear(message):
    if message["msg_type"] == "stream":
        print(message["content"]["text"], end="")
    if message["msg_type"] == "error":
        print(message["content"]["ename"])
for code in ("intruder", "import intruder", "import site; print(site.ENABLE_USER_SITE)", "1"):
    client.execute_interactive(code, output_hook=hear, timeout=600)
client.stop_channels()
manager.shutdown_kernel(now=True)
print(sorted(path.name for path in (home / ".ipython" / "profile_default").iterdir()))
"""


def test_a_kernel_takes_nothing_from_home(envbuild: Envbuild, quickstart: Path) -> None:
    """Nor does it write there."""
    done = envbuild.run("run", quickstart, "--locked", "--", "/srv/jupyter/bin/python3", "-c", HOME)

    assert 0 == done.returncode, done.stderr
    assert [
        "NameError",
        "ModuleNotFoundError",
        "False",
        "['ipython_config.py', 'ipython_kernel_config.py', 'startup']",
    ] == done.stdout.splitlines()


def _notebook(kernel: str, language: str, *cells: str) -> str:
    content = {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "id": f"c{number}",
                "metadata": {},
                "outputs": [],
                "source": cell,
            }
            for number, cell in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"display_name": kernel, "language": language, "name": kernel}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content)


@pytest.mark.slow
def test_every_kernel_that_can_be_had_runs(
    envbuild: Envbuild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python under an alias and bash run; Julia is a warning, and with --strict an error; both are installed
    on this machine."""
    repository = tmp_path / "several"
    repository.mkdir()
    (repository / "requirements.txt").write_text("six\n")
    (repository / "alias.ipynb").write_text(_notebook("my-env", "python", "import six; print(six.__name__)"))
    (repository / "shell.ipynb").write_text(_notebook("bash", "bash", "for i in 1 2; do echo $i; done"))
    (repository / "other.ipynb").write_text(_notebook("julia-1.11", "julia", "1"))

    done = envbuild.run("run", repository, "alias.ipynb", "shell.ipynb", "-o", tmp_path / "out")

    assert 0 == done.returncode, done.stderr
    assert "other.ipynb: this notebook is in 'julia' (kernel 'julia-1.11')" in done.stderr
    outputs = {
        name: json.loads((tmp_path / "out" / name).read_text())["cells"][0]["outputs"]
        for name in ("alias.ipynb", "shell.ipynb")
    }
    assert {"alias.ipynb": "six\n", "shell.ipynb": "1\n2\n"} == {
        name: "".join("".join(one["text"]) for one in found) for name, found in outputs.items()
    }
    refused = envbuild.run("build", repository, "--strict")
    assert (1, True) == (refused.returncode, "julia-1.11" in refused.stderr)

    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    document = envbuild.document("kernel", "install", repository)
    assert [("several", "Python (several)"), ("several-bash", "Bash (several)")] == [
        (kernel["name"], kernel["display_name"]) for kernel in document["kernels"]
    ]


@pytest.mark.slow
def test_r_takes_nothing_from_home_and_the_repositorys_own(envbuild: Envbuild, tmp_path: Path) -> None:
    """`.Rprofile` beside the notebook counts; the user's does not, and neither does the user's library."""
    example = Path(__file__).parents[2] / "examples" / "r-apt"
    repository = Path(shutil.copytree(example, tmp_path / "r-apt"))
    (repository / ".Rprofile").write_text("own <- 'repository'\n")
    cells = ("cat(own, exists('intruder'), any(grepl(Sys.getenv('HOME'), .libPaths())))",)
    (repository / "home.ipynb").write_text(_notebook("ir", "R", *cells))
    script = (
        "mkdir -p ~/R/x86_64-pc-linux-gnu-library/4.5"
        " && echo 'intruder <- 1' > ~/.Rprofile && echo 'R_LIBS_USER=~/R' > ~/.Renviron"
        " && jupyter nbconvert --to notebook --execute --stdout home.ipynb"
        " --ExecutePreprocessor.startup_timeout=600"
    )

    done = envbuild.run("run", repository, "--", "sh", "-c", script)

    assert 0 == done.returncode, done.stderr
    output = json.loads(done.stdout)["cells"][0]["outputs"][0]["text"]
    assert "repository FALSE FALSE" == "".join(output)
