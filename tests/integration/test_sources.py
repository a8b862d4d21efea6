"""From the address of a repository to an image and to executed notebooks, as root and as nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.git import Upstream, serve_git
from tests.support.programs import Envbuild

pytestmark = [pytest.mark.network, pytest.mark.slow]

NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "a",
            "metadata": {},
            "outputs": [],
            "source": "import six; open('made.txt', 'w').write('here')",
        }
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}
FILES = {
    "project/requirements.txt": "six\n",
    "project/notebook.ipynb": json.dumps(NOTEBOOK),
    "project/.env": "TOKEN=secret\n",
    "project/.gitignore": "*.ipynb\n",
    "project/.dockerignore": "*.log\n",
    "project/x.log": "",
}


@pytest.fixture(scope="module")
def upstream(scratch: Path) -> Upstream:
    upstream = Upstream.create(scratch / "upstream" / "rivers.git", FILES)
    upstream.git("tag", "v1")
    upstream.publish()
    return upstream


@pytest.fixture(scope="module")
def url(upstream: Upstream) -> Iterator[str]:
    """Its address, over http."""
    with serve_git(upstream.path.parent) as server:
        yield f"http://127.0.0.1:{server.server_port}/rivers.git#v1"


def test_build(envbuild: Envbuild, upstream: Upstream, url: str, scratch: Path) -> None:
    """Labels and documents say where it is from; credentials and ignored files are not in it."""
    layout = scratch / "source-layout"
    commit = upstream.git("rev-parse", "v1")
    place = url.partition("#")[0]

    document = envbuild.document("build", url, "--subdir", "project", "-o", f"oci:{layout}")

    source = {"url": place, "ref": "v1", "revision": commit, "subdirectory": "project"}
    assert source == document["source"]
    assert document["lock"] is None
    config = json.loads((layout / "blobs" / "sha256" / document["image_id"].partition(":")[2]).read_text())
    labels = config["config"]["Labels"]
    assert (place, commit) == (
        labels["org.opencontainers.image.source"],
        labels["org.opencontainers.image.revision"],
    )
    assert (place, commit) == (labels["repo2docker.repo"], labels["repo2docker.ref"])
    again = envbuild.document("build", url, "--subdir", "project", "--locked", "--offline")
    assert document["image_id"] == again["image_id"]


def test_plan_names_what_is_left_out(envbuild: Envbuild, url: str) -> None:
    contents = envbuild.document("plan", url, "--subdir", "project")["contents"]

    assert [(".env", "credential"), ("x.log", "dockerignore")] == [
        (entry["path"], entry["cause"]) for entry in contents["left_out"]
    ]
    taken = envbuild.document("plan", url, "--subdir", "project", "--include", ".env")["contents"]
    assert contents["files"] + 1 == taken["files"]


def test_run_works_on_a_kept_copy(envbuild: Envbuild, url: str, scratch: Path) -> None:
    _run_on_a_copy(envbuild, url, scratch / "data")


def test_so_it_does_for_nobody(nobody: Envbuild, url: str) -> None:
    _run_on_a_copy(nobody, url, Path(nobody.environment["HOME"]))


def _run_on_a_copy(envbuild: Envbuild, url: str, home: Path) -> None:
    """The results are there afterwards; the files in the cache are as they were."""
    variables = {"XDG_DATA_HOME": str(home / "data"), "HOME": str(home)}
    program = replace(envbuild, environment={**envbuild.environment, **variables})

    done = program.run("run", url, "notebook.ipynb", "--subdir", "project")

    assert done.returncode == 0, done.stderr
    (copy,) = (home / "data" / "envbuild" / "copies").iterdir()
    assert f"working on a copy, which is kept: {copy}" in done.stderr
    assert "here" == (copy / "made.txt").read_text()
    assert (copy / "notebook.executed.ipynb").exists()
    assert [] == list((program.cache / "checkouts-v2").glob("*/tree/project/made.txt"))
