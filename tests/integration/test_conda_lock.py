"""Locking conda environments with the program: real conda-lock, rattler and uv, a channel over http."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from envbuild.lock.lockfile import load_lock
from envbuild.lock.model import Lock
from tests.support.conda_channel import ChannelServer
from tests.support.programs import Envbuild, output_of

pytestmark = [pytest.mark.network, pytest.mark.slow]

ENVIRONMENT = "name: demo\ndependencies:\n- python=3.11\n- numpy\n- pip:\n  - six\n"
BOTH = ("--platform", "linux/amd64", "--platform", "linux/arm64")


@pytest.fixture(scope="module")
def server(conda_channel: Path) -> Iterator[ChannelServer]:
    with ChannelServer(conda_channel) as server:
        yield server


@pytest.fixture
def program(envbuild: Envbuild, server: ChannelServer) -> Envbuild:
    """envbuild with the channel as conda-forge's mirror."""
    return replace(envbuild, environment={"ENVBUILD_CONDA_CHANNELS": f"conda-forge={server.url}"})


def _lock(program: Envbuild, repository: Path, *options: str) -> Lock:
    program.document("lock", repository, *BOTH, *options)
    return load_lock((repository / "envbuild.lock").read_bytes())


def test_from_environment_yml_to_conda_lock_yml_and_back(
    program: Envbuild, server: ChannelServer, tmp_path: Path
) -> None:
    """A lock is fresh, names no address, and what is exported and adopted is the same environment."""
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "environment.yml").write_text(ENVIRONMENT)
    lock = _lock(program, repository)
    text = (repository / "envbuild.lock").read_text()

    assert "127.0.0.1" not in text
    assert "://" not in text
    assert 0 == program.run("lock", repository, "--check").returncode
    for target in lock.targets:
        assert {"python": "3.11.2"}.items() <= {
            package.name: package.version for package in target.conda
        }.items()
        assert ["six"] == [wheel.name for wheel in target.wheels]
    assert ("python-3.11", "2.36") == (lock.base.recipe, lock.base.glibc)

    adopting = tmp_path / "adopting"
    exported = adopting / "conda-lock.yml"
    assert 0 == program.run("export", repository, "--format", "conda-lock", "-o", exported).returncode
    render = (sys.executable, "-m", "conda_lock", "render", "--kind", "explicit", "-p", "linux-64")
    template = ("--filename-template", str(tmp_path / "conda-{platform}.lock"))
    output_of(*render, *template, adopting / "conda-lock.yml")
    listed = (tmp_path / "conda-linux-64.lock").read_text()
    assert all(package.artifact.filename in listed for package in lock.target("linux/amd64").conda)

    before = list(server.requests)
    adopted = _lock(program, adopting)
    asked = server.requests[len(before) :]
    assert not [path for path in asked if "repodata" in path]
    for mine, theirs in zip(lock.targets, adopted.targets, strict=True):
        assert {package.artifact for package in mine.conda} == {package.artifact for package in theirs.conda}
        assert {wheel.artifact for wheel in mine.wheels} == {wheel.artifact for wheel in theirs.wheels}


def test_a_package_that_is_not_the_locked_one_does_not_get_into_an_image(
    program: Envbuild, tmp_path: Path
) -> None:
    """The hash in envbuild.lock counts; about an adopted lock see tests/lock/conda/test_adopting.py."""
    (tmp_path / "environment.yml").write_text(ENVIRONMENT)
    lock = _lock(program, tmp_path)
    package = next(package for package in lock.target("linux/amd64").conda if package.name == "tzdata")
    text = (tmp_path / "envbuild.lock").read_text()
    (tmp_path / "envbuild.lock").write_text(text.replace(package.artifact.sha256, "0" * 64))
    failed = program.run("build", tmp_path, "--locked", "--platform", "linux/amd64", "--json")

    assert 0 != failed.returncode
    assert package.artifact.filename in json.loads(failed.stdout)["message"]


def test_few_changes_when_something_is_added(program: Envbuild, tmp_path: Path) -> None:
    (tmp_path / "environment.yml").write_text(ENVIRONMENT.replace("- numpy\n", ""))
    before = _lock(program, tmp_path)
    (tmp_path / "environment.yml").write_text(ENVIRONMENT)
    after = _lock(program, tmp_path)

    added = set(after.target("linux/amd64").conda) - set(before.target("linux/amd64").conda)
    assert {"numpy"} == {package.name for package in added}
