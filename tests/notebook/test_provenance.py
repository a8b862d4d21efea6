"""The record of a run in an executed notebook's metadata."""

from __future__ import annotations

import io
import json
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from envbuild.notebook.provenance import Provenance, read_provenance, with_provenance

RUN = Provenance(
    notebook="rivers.ipynb",
    image_id="sha256:" + "1" * 64,
    environment="env-abc",
    lock="sha256:" + "2" * 64,
    platform="linux/amd64",
    parameters={"year": 2020, "token": "***"},
    started="2026-03-01T12:00:00Z",
    seconds=3.2,
    commit="a" * 40,
    dirty=False,
    inputs={"data/rivers.csv": "sha256:" + "3" * 64},
)


def notebook(**metadata: Any) -> nbformat.NotebookNode:
    output = new_output("stream", text='é "quoted" \n\u2028 end')
    return new_notebook(
        cells=[new_code_cell("print()", outputs=[output], id="a")],
        metadata={"language_info": {"name": "python"}, **metadata},
    )


def written(node: nbformat.NotebookNode) -> bytes:
    stream = io.StringIO()
    nbformat.write(node, stream)
    return stream.getvalue().encode()


def test_what_is_written_is_read_again() -> None:
    metadata = json.loads(with_provenance(written(notebook()), RUN))["metadata"]

    assert RUN == read_provenance(metadata)
    assert {"name": "python"} == metadata["language_info"]


def test_the_file_is_as_nbformat_writes_it() -> None:
    """So that whoever opens and saves it changes nothing, and a diff shows only what is different."""
    expected = written(notebook(envbuild=RUN.to_json()))

    assert expected == with_provenance(written(notebook()), RUN)


def test_the_last_run_is_the_one_that_is_told() -> None:
    old = notebook(envbuild={"image_id": "sha256:old", "more": 1})

    assert RUN == read_provenance(json.loads(with_provenance(written(old), RUN))["metadata"])


def test_times_can_be_left_out() -> None:
    record = Provenance("sha256:1", "linux/amd64").to_json()

    assert not {"started", "seconds"} & record.keys()


def test_what_only_python_reads_is_kept() -> None:
    """Python's writer puts NaN and half a surrogate pair into JSON, and kernels send such things."""
    node = json.loads(written(notebook()))
    node["cells"][0]["outputs"] = [{"data": {"application/json": [float("nan"), "\ud800"]}}]

    found = json.loads(with_provenance(json.dumps(node).encode(), RUN))

    assert "[nan, '\\ud800']" == repr(found["cells"][0]["outputs"][0]["data"]["application/json"])
    assert RUN == read_provenance(found["metadata"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"cells": [], "metadata": [], "nbformat": 4, "nbformat_minor": 5}',
        b'{"metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
        b'{"cells": [}, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_notebook_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        with_provenance(content, RUN)


@pytest.mark.parametrize(
    "metadata", [None, 7, [], {}, {"envbuild": 7}, {"envbuild": {}}, {"envbuild": {"image_id": 3}}]
)
def test_metadata_without_a_run(metadata: object) -> None:
    assert read_provenance(metadata) is None


def test_nonsense_counts_as_not_there() -> None:
    found = read_provenance(
        {
            "envbuild": {
                "version": True,
                "image_id": "sha256:1",
                "platform": 1,
                "environment": [],
                "lock": {},
                "parameters": [],
                "started": 1,
                "seconds": "long",
                "commit": 1,
                "dirty": "yes",
                "inputs": {"a": 1, "b": "sha256:2"},
            }
        }
    )

    assert Provenance("sha256:1", "", inputs={"b": "sha256:2"}) == found
