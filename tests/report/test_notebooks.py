"""Which runs of notebooks have left a trace."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from envbuild.report.model import NotebookEntry
from envbuild.report.notebooks import notebook_entries
from envbuild.source import Repo
from envbuild.spec.model import Notebook

LOCK = "sha256:" + "1" * 64
SAID: dict[str, Any] = {
    "version": 1,
    "image_id": "sha256:" + "2" * 64,
    "environment": "env-0123456789abcdef",
    "lock": LOCK,
    "platform": "linux/amd64",
    "parameters": {"year": 2020},
    "started": "2026-01-02T03:04:05Z",
    "seconds": 1.5,
    "commit": None,
    "dirty": None,
    "inputs": {},
}


def _write(path: Path, said: object = None, *cells: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {} if said is None else {"envbuild": said}
    path.write_text(
        json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": list(cells)})
    )


def _entries(
    root: Path, *paths: str, results: tuple[Path, ...] = (), lock: str | None = LOCK
) -> dict[str, NotebookEntry]:
    notebooks = [Notebook(path, "python3", "python", None, ()) for path in paths]
    found = notebook_entries(Repo(root), notebooks, [Repo(result) for result in results], lock)
    return {entry.path: entry for entry in found}


def _cell(name: str = "", *tags: str) -> dict[str, Any]:
    outputs = [{"output_type": "error", "ename": name, "evalue": "", "traceback": []}] if name else []
    return {"cell_type": "code", "source": "", "outputs": outputs, "metadata": {"tags": list(tags)}}


def test_the_copy_beside_a_notebook_is_its_run_and_no_notebook(tmp_path: Path) -> None:
    _write(tmp_path / "a.ipynb")
    _write(tmp_path / "a.executed.ipynb", SAID, {"cell_type": "markdown", "source": ""}, _cell())

    entries = _entries(tmp_path, "a.ipynb", "a.executed.ipynb")

    assert ["a.ipynb"] == list(entries)
    run = entries["a.ipynb"].run
    assert run is not None
    assert ("a.executed.ipynb", True, None, {"year": 2020}) == (
        run.path,
        run.lock,
        run.failed,
        run.parameters,
    )
    assert (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), 1.5) == (run.started, run.seconds)


def test_a_copy_that_says_nothing_is_no_run_and_no_notebook(tmp_path: Path) -> None:
    """One whose original is gone is a notebook like any other."""
    names = ("a.ipynb", "a.executed.ipynb", "b.executed.ipynb")
    for name in names:
        _write(tmp_path / name)

    entries = _entries(tmp_path, *names)

    assert {"a.ipynb": None, "b.executed.ipynb": None} == {path: one.run for path, one in entries.items()}


def test_a_notebook_may_be_its_own_trace(tmp_path: Path) -> None:
    _write(tmp_path / "a.ipynb", SAID)

    run = _entries(tmp_path, "a.ipynb")["a.ipynb"].run

    assert run is not None and "a.ipynb" == run.path


def test_the_latest_run_counts_wherever_it_is(tmp_path: Path) -> None:
    root, results = tmp_path / "repository", tmp_path / "results"
    _write(root / "sub" / "a.ipynb")
    _write(root / "sub" / "a.executed.ipynb", SAID)
    later = {**SAID, "started": "2026-01-02T03:04:06+00:00", "lock": "sha256:" + "3" * 64}
    _write(results / "sub" / "a.ipynb", later, _cell(), _cell("ZeroDivisionError"))

    run = _entries(root, "sub/a.ipynb", results=(results,))["sub/a.ipynb"].run

    assert run is not None
    assert (datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC), False, 2) == (run.started, run.lock, run.failed)


def test_expected_errors_are_no_failure(tmp_path: Path) -> None:
    _write(tmp_path / "a.ipynb", SAID, _cell("ValueError", "raises-exception"))

    run = _entries(tmp_path, "a.ipynb", lock=None)["a.ipynb"].run

    assert run is not None and (None, None) == (run.failed, run.lock)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"metadata": {"envbuild": 1}}',
        b'{"metadata": {"envbuild": {"image_id": 1}}}',
        b'{"metadata": [], "cells": 3}',
        b'{"metadata": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_executed_notebook_is_no_run(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.ipynb").write_bytes(content)

    assert _entries(tmp_path, "a.ipynb")["a.ipynb"].run is None


def test_nothing_is_read_outside_of_the_repository(tmp_path: Path) -> None:
    _write(tmp_path / "elsewhere.ipynb", SAID)
    root = tmp_path / "repository"
    _write(root / "a.ipynb")
    (root / "a.executed.ipynb").symlink_to(tmp_path / "elsewhere.ipynb")

    assert _entries(root, "a.ipynb")["a.ipynb"].run is None


def test_numbers_that_are_not_in_json_do_no_harm(tmp_path: Path) -> None:
    """Python writes them, into outputs and elsewhere."""
    said = {**SAID, "parameters": {"limits": [1, float("inf")]}}
    _write(tmp_path / "a.ipynb", said, {"cell_type": "code", "outputs": [{"data": float("nan")}]})

    run = _entries(tmp_path, "a.ipynb")["a.ipynb"].run

    assert run is not None and {"limits": [1, "Infinity"]} == run.parameters
