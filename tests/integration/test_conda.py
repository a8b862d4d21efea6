"""Conda environments from environment.yml to a kernel that runs, with a channel on this machine."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.support.conda_channel import ChannelServer
from tests.support.conda_real import real_channel
from tests.support.programs import Envbuild, output_of, require

pytestmark = [pytest.mark.network, pytest.mark.slow]

_PLATFORMS = ("--platform", "linux/amd64", "--platform", "linux/arm64")
_AARCH64 = (183).to_bytes(2, "little")  # e_machine of an ELF file
_ENVIRONMENT = """\
name: measurements
channels: [conda-forge, nodefaults]
dependencies:
  - python=3.13
  - numpy
  - pip
  - pip:
      - six
"""
_CELL = """\
import os, site, sys, sysconfig, json
import numpy, six, sqlite3, ssl
print(json.dumps({
    "prefix": sys.prefix,
    "executable": sys.executable,
    "numpy": numpy.__file__,
    "six": six.__file__,
    "configured": sysconfig.get_config_var("prefix"),
    "conda": [os.environ.get(name) for name in ("CONDA_PREFIX", "CONDA_DEFAULT_ENV", "VIRTUAL_ENV")],
    "cached": numpy.__spec__.cached is not None and os.path.exists(numpy.__spec__.cached),
    "sum": int(numpy.arange(10).sum()),
    "home": site.ENABLE_USER_SITE,
}))
"""
_EXPECTED = {
    "prefix": "/srv/env",
    "executable": "/srv/env/bin/python3",
    "numpy": "/srv/env/lib/python3.13/site-packages/numpy/__init__.py",
    "six": "/srv/env/lib/python3.13/site-packages/six.py",
    "configured": "/srv/env",
    "conda": ["/srv/env", "/srv/env", None],
    "cached": True,
    "sum": 45,
    "home": False,
}


@dataclass(frozen=True, slots=True)
class Conda:
    """A locked repository, the program with its channel, and what building it for both platforms said."""

    repository: Path
    layout: Path
    program: Envbuild
    document: dict[str, Any]

    def with_cache(self, cache: Path, **changes: Any) -> Envbuild:
        """A program with another cache and the same channel."""
        changes["environment"] = {**self.program.environment, **changes.get("environment", {})}
        return Envbuild(cache, **changes)


@pytest.fixture(scope="module")
def conda(envbuild: Envbuild, scratch: Path) -> Iterator[Conda]:
    """examples of nothing: a notebook, and the environment it runs in, from a channel that is here."""
    channels = envbuild.cache.parent / "channels"
    channels.mkdir(exist_ok=True)
    repository = scratch / "measurements"
    repository.mkdir()
    (repository / "environment.yml").write_text(_ENVIRONMENT)
    cell = {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}, "outputs": []}
    notebook = {
        "cells": [{**cell, "source": [_CELL]}],
        "metadata": {"kernelspec": {"name": "conda-env-lab-py", "display_name": "Lab", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (repository / "look.ipynb").write_text(json.dumps(notebook))
    with ChannelServer(real_channel(channels)) as server:
        environment = {"ENVBUILD_CONDA_CHANNELS": f"conda-forge={server.url}"}
        program = Envbuild(envbuild.cache, environment=environment)
        program.document("lock", repository, *_PLATFORMS)
        layout = scratch / "conda-layout"
        arguments = ("build", repository, "--locked", *_PLATFORMS, "-o", f"oci:{layout}")
        yield Conda(repository, layout, program, program.document(*arguments))


def _looked(notebook: Path) -> dict[str, Any]:
    """What the notebook's only cell printed."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    found: dict[str, Any] = json.loads("".join(cells[0]["outputs"][0]["text"]))
    return found


def test_a_kernel_runs_in_the_prefix(conda: Conda, tmp_path: Path) -> None:
    """conda's own Python, its packages and those of the `pip:` section; no virtual environment."""
    done = conda.program.run("run", conda.repository, "look.ipynb", "--locked", "-o", tmp_path)
    assert 0 == done.returncode, done.stderr
    assert _EXPECTED == _looked(tmp_path / "look.ipynb")


@pytest.mark.docker
def test_a_kernel_runs_in_docker(conda: Conda, docker_host: str, tmp_path: Path) -> None:
    program = conda.with_cache(conda.program.cache, environment={"DOCKER_HOST": docker_host})
    arguments = ("run", conda.repository, "look.ipynb", "--locked", "--engine", "docker", "-o", tmp_path)
    done = program.run(*arguments)
    assert 0 == done.returncode, done.stderr
    assert _EXPECTED == _looked(tmp_path / "look.ipynb")


def test_the_server_starts_beside_it(conda: Conda) -> None:
    """On the base's Python, which is not the environment's."""
    code = "import sys; print(sys.prefix)"
    for command, expected in (
        (("/srv/jupyter/bin/python3", "-c", code), "/srv/jupyter"),
        (("python3", "-c", code), "/srv/env"),
        (("sh", "-c", "command -v jupyter-lab"), "/srv/jupyter/bin/jupyter-lab"),
    ):
        done = conda.program.run("run", conda.repository, "--locked", "--", *command)
        assert (0, expected) == (done.returncode, done.stdout.strip()), done.stderr


def test_packages_are_listed_everywhere(conda: Conda) -> None:
    """By the build, in the lock's document, and by pip in the container."""
    layers = conda.document["layers"]
    packages = {package.partition("==")[0] for layer in layers for package in layer["packages"]}
    assert {"python", "openssl", "numpy", "six", "ipykernel"} <= packages
    done = conda.program.run("run", conda.repository, "--locked", "--", "python3", "-m", "pip", "list")
    assert {"numpy", "six", "ipykernel"} <= {line.split()[0] for line in done.stdout.splitlines()}


def test_packages_can_be_replaced_in_the_running_container(conda: Conda) -> None:
    """By the user of the image, as `%pip install` does it."""
    command = "cd /srv/env/lib/python3.13/site-packages && rm -r numpy && echo > new.py && id -u"
    done = conda.program.run("run", conda.repository, "--locked", "--", "sh", "-c", command)
    assert (0, "1000\n") == (done.returncode, done.stdout), done.stderr


def test_user_and_cache_and_host_python_do_not_matter(
    conda: Conda, downloads_only: Callable[[str], Envbuild]
) -> None:
    """The same digest from another cache, with other settings."""
    other = downloads_only("conda-again").cache
    environment = {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "17", "LC_ALL": "C"}
    umask = ("sh", "-c", 'umask 077; exec "$@"', "sh")
    program = conda.with_cache(other, environment=environment, prefix=umask)
    document = program.document("build", conda.repository, "--locked", *_PLATFORMS, "--jobs", "1")
    assert conda.document["digest"] == document["digest"]


def test_another_user_makes_and_runs_the_same_image(conda: Conda, scratch: Path) -> None:
    """``nobody``, in a home of theirs."""
    require("setpriv", root=True)
    system = shutil.which("python3", path="/usr/bin")
    if system is None or sys.version_info[:2] < (3, 11):
        pytest.skip("no recent Python that other users can start")
    directory, home = scratch / "conda-for-nobody", scratch / "conda-nobody"
    uv = Path(sys.executable).with_name("uv")
    output_of(uv, "venv", "--quiet", "--no-python-downloads", "--python", system, directory)
    copied = ("--quiet", "--link-mode", "copy", "--python", directory / "bin" / "python")
    output_of(uv, "pip", "install", *copied, Path(__file__).parents[2])
    home.mkdir()
    os.chown(home, 65534, 65534)
    program = conda.with_cache(
        home / "cache",
        program=directory / "bin" / "envbuild",
        prefix=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"),
        environment={"HOME": str(home)},
    )
    document = program.document("build", conda.repository, "--locked", *_PLATFORMS)
    assert conda.document["digest"] == document["digest"]
    done = program.run("run", conda.repository, "look.ipynb", "--locked", "-o", home / "out")
    assert 0 == done.returncode, done.stderr
    assert _EXPECTED == _looked(home / "out" / "look.ipynb")


def _elf_machines(layout: Path, layers: list[dict[str, Any]], suffix: str) -> set[bytes]:
    """``e_machine`` of the files of an image that end with ``suffix``."""
    found = set()
    for layer in layers:
        blob = layout / "blobs" / "sha256" / layer["digest"].removeprefix("sha256:")
        with (
            blob.open("rb") as stream,
            zstandard.ZstdDecompressor().stream_reader(stream) as tar,
            tarfile.open(fileobj=tar, mode="r|") as archive,
        ):
            for member in archive:
                content = archive.extractfile(member) if member.name.endswith(suffix) else None
                if content is not None and member.isreg():
                    found.add(content.read(20)[18:])
    return found


def test_the_other_architecture_is_assembled_and_shares_what_is_not_about_it(conda: Conda) -> None:
    """Its programs are its own; a layer of packages without architecture has one diff ID."""
    amd64, arm64 = (
        [layer for layer in conda.document["platforms"][platform]["layers"] if layer["packages"]]
        for platform in ("linux/amd64", "linux/arm64")
    )
    python = [layer for layer in arm64 if layer["packages"][0].startswith("python==")]
    assert {_AARCH64} == _elf_machines(conda.layout, python, "srv/env/bin/python3.13")
    shared = {layer["diff_id"] for layer in amd64} & {layer["diff_id"] for layer in arm64}
    titles = {layer["title"] for layer in amd64 if layer["diff_id"] in shared}
    assert [title for title in sorted(titles) if title.startswith(("conda packages", "packages"))]
    pure = {"ipython", "jedi", "traitlets", "six"}
    for layer in amd64:
        if {package.partition("==")[0] for package in layer["packages"]} <= pure:
            assert layer["diff_id"] in shared


def test_what_is_installed_is_what_conda_and_records_say(conda: Conda) -> None:
    """Every file, also those with a prefix in them; conda's packages are named as such."""
    done = conda.program.run("fingerprint", conda.repository, "--locked", "--files")
    assert 0 == done.returncode, done.stderr
    environment = json.loads(done.stdout)["environment"]
    assert {"python", "numpy"} <= environment["conda"].keys()
    assert {"numpy", "six"} <= environment["packages"].keys()
