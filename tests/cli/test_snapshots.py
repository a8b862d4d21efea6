"""Whole outputs of the command line, compared with ``snapshots/*.txt``.

After a wanted change: ``UPDATE_SNAPSHOTS=1 pytest tests/cli/test_snapshots.py`` and read the diff.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from envbuild.cli.main import run

SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.fixture(autouse=True)
def _usual_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("sys.platform", "linux")


def _notebook(*cells: str, kernel: str = "python3", language: str = "python") -> str:
    content: dict[str, Any] = {
        "cells": [
            {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": cell}
            for cell in cells
        ],
        "metadata": {"kernelspec": {"name": kernel, "display_name": kernel, "language": language}},
        "nbformat": 4,
        "nbformat_minor": 4,
    }
    return json.dumps(content)


REPOSITORIES: dict[str, dict[str, str]] = {
    "good": {
        "requirements.txt": "pandas>=2\n-c constraints.txt\n",
        "constraints.txt": "numpy<3\n",
        "environment.lock": "",
        "analysis.ipynb": _notebook("import pandas as pd", "%pip install seaborn"),
        "maps/plot.ipynb": _notebook("import numpy", kernel="geo"),
        "pyproject.toml": '[project]\nname = "river-levels"\nversion = "1"\nrequires-python = ">=3.11"\n',
    },
    "inferred": {
        "one.ipynb": _notebook("import sklearn, PIL.Image\nfrom toolbox import x"),
        "toolbox.py": "",
    },
    "broken": {
        "requirements.txt": "pandas >= = 2\n-r ../../outside.txt\n",
        "truncated.ipynb": '{"cells": [',
        "Dockerfile": "FROM scratch\n",
        "apt.txt": "vim;\n",
    },
    "no-kernel": {
        "requirements.txt": "numpy\n",
        "one.ipynb": _notebook("import numpy"),
        "levels.ipynb": _notebook("1 + 1", kernel="julia-1.11", language="julia"),
        "fit.ipynb": _notebook("lm(y ~ x)", kernel="ir", language="R"),
    },
    "container": {"Dockerfile": "FROM debian:12\n", "one.ipynb": _notebook("import numpy")},
    "bad-config": {"envbuild.toml": 'python = "3.13"\ncache-dir = "/tmp"\n', "requirements.txt": "numpy\n"},
}

CASES: dict[str, tuple[str, ...]] = {
    "help": ("--help",),
    "plan-good": ("plan", "good"),
    "plan-good-json": ("plan", "good", "--json"),
    "plan-inferred": ("plan", "inferred"),
    "plan-broken": ("plan", "broken"),
    "plan-broken-json": ("plan", "broken", "--json"),
    "plan-bad-config": ("plan", "bad-config"),
    "plan-nowhere": ("plan", "nowhere"),
    "lock-check-missing": ("lock", "good", "--check"),
    "lock-broken-json": ("lock", "broken", "--json"),
    "build-locked-missing": ("build", "good", "--locked"),
    "build-bad-output": ("build", "good", "-o", "tar:x"),
    "build-bad-name": ("build", "good", "-t", "Demo"),
    "build-archive-of-several": (
        *("build", "good", "-o", "archive:x.tar"),
        *("--platform", "linux/amd64", "--platform", "linux/arm64"),
    ),
    "build-sbom-without-push": ("build", "good", "--sbom"),
    "build-sign-without-push": ("build", "good", "-t", "demo", "--sign", "sign.key"),
    "build-no-such-key": (
        *("build", "good", "--push", "-t", "registry.example.org/demo:1"),
        *("--sign", "missing.key"),
    ),
    "build-strict-no-kernel": ("build", "no-kernel", "--strict"),
    "plan-no-kernel": ("plan", "no-kernel"),
    "run-pattern-without-fit": ("run", "good", "drafts/*.ipynb"),
    "run-no-such-notebook": ("run", "good", "missing.ipynb"),
    "run-command-and-notebook": ("run", "good", "analysis.ipynb", "--", "true"),
    "up-bad-engine": ("up", "good", "--engine", "lxc"),
    "trace-container": ("trace", "container"),
    "base-list": ("base", "list"),
    "base-unknown": ("base", "build", "python-2.7"),
    "cache-list": ("cache", "list"),
    "cache-prune": ("cache", "prune"),
}


@pytest.mark.parametrize("case", CASES)
def test_output(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for repository, files in REPOSITORIES.items():
        for name, content in files.items():
            path = tmp_path / repository / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    monkeypatch.chdir(tmp_path)

    code = run(CASES[case])

    shown = capsys.readouterr()
    text = f"$ envbuild {' '.join(CASES[case])}\n{shown.out}--- stderr\n{shown.err}--- exit code {code}\n"
    text = text.replace(str(tmp_path), "<here>")
    file = SNAPSHOTS / f"{case}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        file.write_text(text)
    assert file.read_text() == text


def test_no_snapshot_is_left_over() -> None:
    assert sorted(CASES) == sorted(file.stem for file in SNAPSHOTS.iterdir())
