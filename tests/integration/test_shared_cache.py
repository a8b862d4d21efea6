"""The shared cache with a real registry: what CI has built, a laptop and the next CI run need not build."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envbuild.lock.lockfile import load_lock
from tests.integration.conftest import Built
from tests.support.programs import Envbuild, require
from tests.support.servers import docker_registry

pytestmark = [pytest.mark.network, pytest.mark.slow]

_BUILD = ("--locked", "--platform", "linux/amd64")


@pytest.fixture(scope="module")
def storage(scratch: Path) -> Path:
    """Where the registry keeps its blobs."""
    return scratch / "shared-registry"


@pytest.fixture(scope="module")
def shared(storage: Path) -> Iterator[str]:
    """A registry that nobody else uses."""
    require("docker-registry")
    with docker_registry(storage) as address:
        yield address


@pytest.fixture(scope="module")
def ci(envbuild: Envbuild, built: Built, shared: str) -> dict[str, Any]:
    """What CI has pushed, from a cache with everything in it."""
    runner = sharing(envbuild, shared)
    name = f"{shared}/team/quickstart:main"
    return runner.document("build", built.repository, *_BUILD, "--push", "-t", name)


@pytest.fixture
def empty(scratch: Path, shared: str, request: pytest.FixtureRequest) -> Envbuild:
    """A machine with an empty cache."""
    return sharing(Envbuild(scratch / request.node.name[:40]), shared)


def sharing(program: Envbuild, registry: str) -> Envbuild:
    return replace(program, environment={**program.environment, "ENVBUILD_REGISTRY": f"{registry}/team/envs"})


def blobs(storage: Path) -> dict[str, int]:
    """Size by digest of what the registry holds."""
    return {path.parent.name: path.stat().st_size for path in storage.glob("**/blobs/sha256/*/*/data")}


def layers_here(program: Envbuild, document: dict[str, Any]) -> list[str]:
    """Titles of the layers whose bytes are in the cache of ``program``."""
    held = {path.name for path in (program.cache / "store-v1" / "blobs" / "sha256").iterdir()}
    return [layer["title"] for layer in document["layers"] if layer["digest"][7:] in held]


def downloads(program: Envbuild) -> list[str]:
    return sorted(path.name for path in (program.cache / "artifacts-v1").iterdir())


def made(document: dict[str, Any]) -> list[str]:
    """Titles of the layers that had to be made."""
    return [layer["title"] for layer in document["layers"] if layer["found"] is None]


def test_a_laptop_has_ci_s_image_without_its_bytes_and_runs_it_without_a_wheel(
    built: Built, ci: dict[str, Any], empty: Envbuild
) -> None:
    document = empty.document("build", built.repository, *_BUILD)

    assert ci["digest"] == document["digest"] == built.document["digest"]
    assert (["repository"], ["repository"]) == (made(document), layers_here(empty, document))
    assert [] == downloads(empty)

    out = empty.cache / "out"
    empty.document("run", built.repository, "analysis.ipynb", "-o", out, "--locked")

    outputs = [cell.get("outputs") for cell in json.loads((out / "analysis.ipynb").read_text())["cells"]]
    assert any(outputs)
    lock = load_lock((built.repository / "envbuild.lock").read_bytes())
    wheels = [wheel for target in lock.targets for wheel in target.wheels]
    assert set() == {wheel.artifact.sha256 for wheel in wheels} & set(downloads(empty))


def test_new_notebooks_are_one_small_layer(
    built: Built, ci: dict[str, Any], empty: Envbuild, shared: str, storage: Path, scratch: Path
) -> None:
    repository = scratch / "content-only" / built.repository.name
    shutil.copytree(built.repository, repository)
    (repository / "more.txt").write_text("new\n")
    before = blobs(storage)

    document = empty.document(
        "build", repository, *_BUILD, "--push", "-t", f"{shared}/team/quickstart:content"
    )

    new = {digest: size for digest, size in blobs(storage).items() if digest not in before}
    assert (["repository"], ["repository"]) == (made(document), layers_here(empty, document))
    digests = (document["layers"][-1]["digest"], document["image_id"], document["digest"])
    assert {digest.removeprefix("sha256:") for digest in digests} == set(new)
    assert sum(new.values()) < 100_000
    assert (0, []) == (document["shared"]["layers"], downloads(empty))


def test_a_bump_on_an_empty_runner_is_one_packages_layer(
    envbuild: Envbuild, built: Built, ci: dict[str, Any], empty: Envbuild, shared: str, storage: Path
) -> None:
    """And the layer that holds the lock, and the repository's. No other layer's bytes come or go."""
    repository = empty.cache.with_name("bumped")
    shutil.copytree(built.repository, repository)
    requirements = repository / "requirements.txt"
    version = next(p for layer in built.document["layers"] for p in layer["packages"] if p[:7] == "numpy==")
    requirements.write_text(requirements.read_text().replace("numpy>=2", f"numpy>=2,!={version[7:]}"))
    envbuild.document("lock", repository)
    before = blobs(storage)

    document = empty.document("build", repository, *_BUILD, "--push", "-t", f"{shared}/team/quickstart:bump")

    expected = ["numpy", "environment, kernels and entry point", "repository"]
    assert (expected, expected) == (made(document), layers_here(empty, document))
    new = {digest: size for digest, size in blobs(storage).items() if digest not in before}
    layers = {layer["digest"][7:]: layer for layer in document["layers"] if layer["title"] in expected}
    assert set(layers) <= set(new)
    assert sum(new.values()) < sum(layer["size"] for layer in layers.values()) + 200_000
    assert 2 == document["shared"]["layers"]


def test_two_runners_that_build_the_same_at_once_agree(
    built: Built, downloads_only: Callable[[str], Envbuild], scratch: Path
) -> None:
    """Neither finds anything, both pack everything, both push."""
    require("docker-registry")
    with docker_registry() as registry:
        runners = [sharing(downloads_only(name), registry) for name in ("one", "two")]
        name = f"{registry}/team/quickstart:main"
        arguments = ("build", built.repository, *_BUILD, "--push", "-t", name, "--json")
        running = [runner.start(*arguments) for runner in runners]
        answers = [process.communicate() for process in running]

        assert [0, 0] == [process.returncode for process in running], answers
        documents = [json.loads(output) for output, _ in answers]
        assert {built.document["digest"]} == {document["digest"] for document in documents}
        assert 1 == len({document["shared"]["digest"] for document in documents})
        third = sharing(Envbuild(scratch / "third"), registry).document("build", built.repository, *_BUILD)
        assert (["repository"], built.document["digest"]) == (made(third), third["digest"])


def test_a_registry_that_is_gone_when_the_bytes_are_needed_costs_a_warning(
    built: Built, downloads_only: Callable[[str], Envbuild], envbuild: Envbuild, scratch: Path
) -> None:
    """A layer was found in it by one command; when another reads it, nobody answers."""
    require("docker-registry")
    machine = downloads_only("forsaken")
    with docker_registry() as registry:
        name = f"{registry}/team/quickstart:main"
        sharing(envbuild, registry).document("build", built.repository, *_BUILD, "--push", "-t", name)
        found = sharing(machine, registry).document("build", built.repository, *_BUILD)
        assert ["repository"] == made(found)

    layout = scratch / "forsaken-layout"
    done = sharing(machine, registry).run("build", built.repository, *_BUILD, "-o", f"oci:{layout}", "--json")

    assert 0 == done.returncode, done.stderr
    assert built.document["digest"] == json.loads(done.stdout)["digest"]
    assert 1 == done.stderr.count("warning: the shared cache is not used: ")
    pushed = sharing(machine, registry).run("build", built.repository, *_BUILD, "--push", "-t", name)
    assert 4 == pushed.returncode
