"""The files of a first start: listed by a real one, kept in the image, and read by starts that follow."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest
import zstandard

from tests.support.programs import Envbuild

pytestmark = [pytest.mark.network, pytest.mark.slow]

_ENGINE = ("--engine", "bubblewrap")
# Waits until nothing is read ahead any more, and nothing of that is left.
_LOOK = """
sleep 0.5
for i in $(seq 6000); do
    left=$(cat /proc/[0-9]*/stat 2> /dev/null | grep -e '(xargs)' -e ') Z ')
    [ -n "$left" ] || break
    sleep 0.1
done
test -f /srv/repo/envbuild.trace && echo "looked$left"
"""


@pytest.fixture(scope="module")
def repository(envbuild: Envbuild, quickstart: Path, scratch: Path) -> Path:
    """A traced copy of the quickstart."""
    repository = scratch / "traced" / "quickstart"
    shutil.copytree(quickstart, repository)
    document = envbuild.document("trace", repository, "--locked", *_ENGINE)
    assert str(repository / "envbuild.trace") == document["path"]
    assert document["files"] == len(_listed(repository))
    return repository


def _listed(repository: Path) -> list[str]:
    return (repository / "envbuild.trace").read_text().splitlines()[1:]


def test_what_server_kernel_and_notebooks_read_is_listed_in_their_order(repository: Path) -> None:
    files = _listed(repository)

    of_lab, of_kernel, of_pandas = (
        next(number for number, path in enumerate(files) if part in path)
        for part in (
            "/srv/jupyter/lib/python3.13/site-packages/jupyterlab/__pycache__/labapp.",
            "/srv/env/lib/python3.13/site-packages/ipykernel/__pycache__/kernelapp.",
            "/srv/env/lib/python3.13/site-packages/pandas/__pycache__/__init__.",
        )
    )
    assert of_lab < of_kernel < of_pandas
    assert [path for path in files if "/libscipy_openblas" in path], "also shared libraries of libraries"
    assert {"usr", "srv"} == {path.split("/")[1] for path in files}
    assert {"env", "jupyter"} == {path.split("/")[2] for path in files if path.startswith("/srv/")}


def test_nothing_but_the_list_is_left_in_the_repository(repository: Path, quickstart: Path) -> None:
    assert {"envbuild.trace"} == {path.name for path in repository.iterdir()} - {
        path.name for path in quickstart.iterdir()
    }


def test_the_image_has_the_list(envbuild: Envbuild, repository: Path, scratch: Path) -> None:
    layout = scratch / "traced-layout"
    options = ("--locked", "--platform", "linux/amd64", "-o", f"oci:{layout}")

    document = envbuild.document("build", repository, *options)

    digest = document["platforms"]["linux/amd64"]["layers"][-1]["digest"]
    blob = layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
    with (
        blob.open("rb") as stream,
        zstandard.ZstdDecompressor().stream_reader(stream) as tar,
        tarfile.open(fileobj=tar, mode="r|") as archive,
    ):
        names = [member.name for member in archive]
    assert "srv/repo/envbuild.trace" in names


def test_a_container_starts_as_without_and_leaves_no_process(envbuild: Envbuild, repository: Path) -> None:
    """Nothing is printed; readers are reaped when they have ended."""
    done = envbuild.run("run", repository, "--locked", "--quiet", *_ENGINE, "--", "sh", "-c", _LOOK)

    assert (0, "looked\n", "") == (done.returncode, done.stdout, done.stderr)


def test_a_server_and_a_kernel_start_with_it(envbuild: Envbuild, repository: Path) -> None:
    """Traced once more, while everything is read ahead, the start imports the same."""
    before = _listed(repository)

    envbuild.document("trace", repository, "--locked", *_ENGINE)

    assert _imported(before) == _imported(_listed(repository))


def _imported(files: list[str]) -> set[str]:
    return {path for path in files if path.endswith(".pyc")}
