"""What ``envbuild run`` adds to nbclient in the same environment; prints a table.

    python -m bench.run_overhead > run.md

Notebooks of several lengths, each on both sides in turn, with a warm cache. The bare side is ``jupyter
execute`` of the image's own Jupyter server, started in the same container in which nothing else of envbuild
runs, and its clock starts and stops there. The other side is the whole command, from its start to its end:
starting Python, reading the repository, finding the image, the container, the record, writing the result.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.measure import seconds

_ENVBUILD = str(Path(sys.executable).with_name("envbuild"))
_EXAMPLE = Path(__file__).parents[1] / "examples" / "quickstart"
_LENGTHS = (0, 10, 30)
_CELLS = 20
# Runs in the container: seconds of a command, on standard output.
_CLOCK = """
import subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
print(time.perf_counter() - started)
"""
_WORK = """
import time
end = time.process_time() + {seconds}
while time.process_time() < end:
    sum(range(10_000))
print(end > 0)
"""


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description="overhead of envbuild run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engine", default="bubblewrap")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="envbuild-bench-") as scratch:
        repository = Path(scratch, "quickstart")
        shutil.copytree(_EXAMPLE, repository)
        names = [_write(repository, length) for length in _LENGTHS]
        usual = ("run", str(repository), "--engine", options.engine)
        seconds([_ENVBUILD, *usual, names[0]], os.environ)  # locks, builds, unpacks
        usual += ("--locked",)
        bare: dict[str, list[float]] = {name: [] for name in names}
        whole: dict[str, list[float]] = {name: [] for name in names}
        for number in range(options.rounds):
            for name in names:
                sides = [
                    lambda name=name: bare[name].append(_bare(usual, name)),
                    lambda name=name: whole[name].append(seconds([_ENVBUILD, *usual, name], os.environ)),
                ]
                for side in sides if number % 2 else reversed(sides):
                    side()
                found = f"bare {bare[name][-1]:.2f} s, envbuild run {whole[name][-1]:.2f} s"
                print(f"round {number + 1}: {name}: {found}", file=sys.stderr)
    _print(bare, whole)


def _write(repository: Path, length: int) -> str:
    """A notebook that imports, plots, and computes for ``length`` seconds in many cells; its name."""
    plot = "import pandas, matplotlib.pyplot as plt\npandas.Series([1, 2, 3]).plot();"
    work = [_WORK.format(seconds=length / _CELLS) for _ in range(_CELLS)]
    code = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    cells = [{**code, "id": f"c{number}", "source": text} for number, text in enumerate([plot, *work])]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    name = f"seconds-{length}.ipynb"
    (repository / name).write_text(json.dumps(notebook))
    return name


def _bare(usual: Sequence[str], name: str) -> float:
    execute = ("/srv/jupyter/bin/jupyter", "execute", f"--output={Path(name).stem}-bare", name)
    command = [_ENVBUILD, *usual, "--quiet", "--", "python3", "-c", _CLOCK, *execute]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{name}: exit code {done.returncode}\n{done.stderr[-4000:]}")
    return float(done.stdout.split()[-1])


def _print(bare: dict[str, list[float]], whole: dict[str, list[float]]) -> None:
    print("| notebook | nbclient | `envbuild run` | more | |\n|---|--:|--:|--:|--:|")
    for name in bare:
        alone, all_of_it = median(bare[name]), median(whole[name])
        more = all_of_it - alone
        print(f"| {name} | {alone:.2f} s | {all_of_it:.2f} s | {more:.2f} s | {more / alone:.1%} |")


if __name__ == "__main__":
    main()
