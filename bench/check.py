"""How long `envbuild check` takes for many notebooks; prints a table of docs/benchmarks.md.

    python -m bench.check > check.md

The notebooks are generated, always the same: 40 cells each, half of them code of the kind people write, with
texts, tables in HTML and two pictures as outputs, some 180 kB. The repository declares what they import and
has no lock, so nothing is asked of a network. What an interpreter that does nothing takes is subtracted.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import seconds

_PROGRAM = Path(sys.executable).parent / "envbuild"
_REQUIREMENTS = "numpy\npandas\nmatplotlib\nseaborn\nscikit-learn\n"
_CODE = (
    "import numpy as np\nimport pandas as pd\nimport matplotlib.pyplot as plt\n%matplotlib inline",
    "levels = pd.read_csv('data/levels.csv', parse_dates=['day'])\nlevels.head()",
    "def smooth(values, width={number}):\n    kernel = np.ones(width) / width\n"
    "    return np.convolve(values, kernel, mode='same')",
    "fig, axes = plt.subplots(1, 2, figsize=(10, 4))\nfor axis, name in zip(axes, ['north', 'south']):\n"
    "    axis.plot(levels['day'], smooth(levels[name]))\n    axis.set_title(f'level {{name}}')\nplt.show()",
    "from sklearn.linear_model import LinearRegression\nmodel = LinearRegression()\n"
    "model.fit(levels[['rain', 'snow']], levels['north'])\nprint(model.coef_, model.intercept_)",
    "!ls data\n# https://example.org/levels/{number}\n"
    "rows = levels.groupby('station').agg({{'north': 'mean'}})",
)


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description="check times")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--notebooks", type=int, default=500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="envbuild-bench-") as scratch:
        root = Path(scratch, "repository")
        size = _write(root, arguments.notebooks)
        environment = {**os.environ, "ENVBUILD_CACHE_DIR": str(Path(scratch, "cache"))}
        commands = {
            "python, nothing": [sys.executable, "-c", "pass"],
            "envbuild --help": [str(_PROGRAM), "--help"],
            "envbuild plan": [str(_PROGRAM), "plan", str(root), "--json"],
            "envbuild check": [str(_PROGRAM), "check", str(root), "--json"],
            "envbuild check --select EB7": [str(_PROGRAM), "check", str(root), "--json", "--select", "EB7"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.rounds + 1):
            for name, command in commands.items():
                times[name].append(seconds(command, environment))
    start = median(times["python, nothing"][1:])  # the first round filled caches
    print(
        f"| {arguments.notebooks} notebooks, {size / 1e6:.0f} MB | seconds | beyond the interpreter's start |"
    )
    print("|---|--:|--:|")
    for name, values in times.items():
        took = median(values[1:])
        print(f"| {name} | {took:.2f} | {took - start:.2f} |")


def _write(root: Path, number: int) -> int:
    """Write the repository; returns the bytes of its notebooks."""
    chance = random.Random(500)
    root.mkdir()
    (root / "requirements.txt").write_text(_REQUIREMENTS)
    total = 0
    for index in range(number):
        path = root / f"part-{index // 50:02d}" / f"notebook-{index:03d}.ipynb"
        path.parent.mkdir(exist_ok=True)
        text = json.dumps(_notebook(chance), indent=1)
        path.write_text(text)
        total += len(text)
    return total


def _notebook(chance: random.Random) -> dict[str, Any]:
    return {
        "cells": list(_cells(chance)),
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python", "version": "3.11.2"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _cells(chance: random.Random) -> Iterator[dict[str, Any]]:
    for number in range(20):
        about = " ".join(
            chance.choice(("the", "river", "level", "rises", "token", "in", "spring")) for _ in range(60)
        )
        yield {
            "cell_type": "markdown",
            "id": f"m{number}",
            "metadata": {},
            "source": [f"## Part {number}\n", about],
        }
        source = _CODE[number % len(_CODE)].format(number=chance.randrange(3, 30))
        outputs: list[dict[str, Any]] = [
            {"name": "stdout", "output_type": "stream", "text": [f"{about}\n"] * 5}
        ]
        if number % 6 == 1:
            rows = "".join(f"<tr><td>{chance.random()}</td></tr>\n" for _ in range(40))
            outputs.append(_shown("text/html", f"<table>{rows}</table>"))
        if number in (3, 9):
            outputs.append(_shown("image/png", base64.b64encode(chance.randbytes(45_000)).decode()))
        yield {
            "cell_type": "code",
            "execution_count": number + 1,
            "id": f"c{number}",
            "metadata": {},
            "outputs": outputs,
            "source": source.splitlines(keepends=True),
        }


def _shown(kind: str, value: str) -> dict[str, Any]:
    return {"data": {kind: value}, "metadata": {}, "output_type": "display_data"}


if __name__ == "__main__":
    main()
