"""Notebooks and locks as text, for tests."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["PYLOCK", "UV_LOCK", "notebook", "notebook_3"]

PYLOCK = """\
lock-version = "1.0"
created-by = "test"
requires-python = ">=3.11"

[[packages]]
name = "numpy"
version = "2.0.0"

[[packages.wheels]]
name = "numpy-2.0.0-py3-none-any.whl"
path = "numpy-2.0.0-py3-none-any.whl"
hashes = { sha256 = "00" }
"""

UV_LOCK = """\
version = 1
revision = 3
requires-python = ">=3.11"

[[package]]
name = "demo"
version = "0"
source = { virtual = "." }

[[package]]
name = "numpy"
version = "2.0.0"
"""


def notebook(
    *cells: str, kernel: str | None = "python3", language: str | None = "python", **metadata: Any
) -> str:
    """A notebook of nbformat 4 with these code cells."""
    if kernel is not None:
        metadata["kernelspec"] = {"name": kernel, "display_name": kernel}
    if language is not None:
        metadata["language_info"] = {"name": language, "version": "3.11.4"} | metadata.get(
            "language_info", {}
        )
    return json.dumps(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": metadata,
            "cells": [
                {"cell_type": "code", "source": cell, "metadata": {}, "outputs": [], "execution_count": None}
                for cell in cells
            ],
        }
    )


def notebook_3(*cells: str, **metadata: Any) -> str:
    """A notebook of nbformat 3 with these code cells, each in two parts."""
    return json.dumps(
        {
            "nbformat": 3,
            "nbformat_minor": 0,
            "metadata": metadata,
            "worksheets": [
                {"cells": [{"cell_type": "code", "language": "python", "input": cell.splitlines(True)}]}
                for cell in cells
            ],
        }
    )
