"""Repositories that only a container engine can build."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from envbuild.spec.detection import ENGINE_KINDS
from envbuild.spec.model import EngineBuild, Spec

SpecOf = Callable[..., Spec]


@pytest.mark.parametrize("name", [name for _, names in ENGINE_KINDS for name in names])
@pytest.mark.parametrize("directory", ["", "binder/", ".binder/"])
def test_files_of_other_languages_go_to_repo2docker(spec_of: SpecOf, name: str, directory: str) -> None:
    spec = spec_of({f"{directory}{name}": "x", f"{directory}requirements.txt": "numpy"})
    fates = {file.path: (file.used, file.reason) for file in spec.files}

    assert EngineBuild("repo2docker", f"{directory}{name}") == spec.engine_build
    assert () == spec.problems
    assert (True, "left to repo2docker") == fates[f"{directory}requirements.txt"]
    assert [("repo2docker", "build", True)] == [(e.what, e.when, e.network) for e in spec.executions]


@pytest.mark.parametrize("runtime", ["r-4.3-2024-01-01", "R-2024-01-01\n", "julia-1.10"])
def test_another_runtime_goes_to_repo2docker(spec_of: SpecOf, runtime: str) -> None:
    spec = spec_of({"runtime.txt": runtime, "requirements.txt": "numpy"})

    assert EngineBuild("repo2docker", "runtime.txt") == spec.engine_build
    assert () == spec.problems


def test_locks_that_repo2docker_does_not_read_are_named(spec_of: SpecOf) -> None:
    spec = spec_of({"DESCRIPTION": "Package: x\n", "uv.lock": "version = 1"})

    assert EngineBuild("repo2docker", "DESCRIPTION") == spec.engine_build
    assert {"uv.lock": "repo2docker builds DESCRIPTION and does not read it"} == {
        file.path: file.reason for file in spec.files if not file.used
    }


@pytest.mark.parametrize("decisive", ["binder/Dockerfile", "binder/install.R"])
def test_nothing_beside_it_is_ignored_silently(spec_of: SpecOf, decisive: str) -> None:
    others = ("REQUIRE", "flake.nix", "pylock.dev.toml", ".python-version", "uv.lock", "pixi.toml")
    spec = spec_of({decisive: "x", **{f"binder/{name}": "x" for name in others}})

    assert {decisive: True, **{f"binder/{name}": False for name in others}} == {
        file.path: file.used for file in spec.files
    }
    assert () == spec.python


def test_a_dockerfile_brings_its_own_start(spec_of: SpecOf) -> None:
    spec = spec_of({"binder/Dockerfile": "x", "binder/start": "x", "binder/runtime.txt": "python-3.11"})
    assert {"binder/Dockerfile"} == {file.path for file in spec.files if file.used}


def test_a_dockerfile_alone_is_built(spec_of: SpecOf) -> None:
    spec = spec_of({"Dockerfile": "FROM scratch\n"})

    assert EngineBuild("Dockerfile", "Dockerfile") == spec.engine_build
    assert () == spec.problems
    assert ["Dockerfile"] == [execution.what for execution in spec.executions]


def test_a_dockerfile_in_the_root_gives_way(spec_of: SpecOf) -> None:
    """Many repositories have one for other ends."""
    spec = spec_of({"Dockerfile": "FROM scratch\n", "requirements.txt": "numpy"})

    assert spec.engine_build is None
    assert {"Dockerfile": "requirements.txt declares the environment"} == {
        file.path: file.reason for file in spec.files if not file.used
    }


def test_a_dockerfile_in_binder_is_meant(spec_of: SpecOf) -> None:
    spec = spec_of({"binder/Dockerfile": "FROM scratch\n", "binder/requirements.txt": "numpy"})

    assert EngineBuild("Dockerfile", "binder/Dockerfile") == spec.engine_build
    assert {"binder/Dockerfile": True, "binder/requirements.txt": False} == {
        file.path: file.used for file in spec.files
    }
