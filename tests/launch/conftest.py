from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envbuild.launch.kernels import ImageKernel
from envbuild.store import Store

PYTHON = ImageKernel(
    ("project", "python3"),
    "Python (project)",
    "python",
    ("python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"),
    {"MODE": "image"},
    "signal",
    True,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


@pytest.fixture
def connection_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a connection file, as Jupyter does, with other values where the test says so."""

    def write(**values: Any) -> Path:
        ports = {f"{name}_port": 4000 + number for number, name in enumerate(NAMES)}
        path = tmp_path / "connection.json"
        path.write_text(json.dumps({"transport": "tcp", "ip": "127.0.0.1", "key": "k", **ports, **values}))
        return path

    return write


NAMES = ("shell", "iopub", "stdin", "control", "hb")
