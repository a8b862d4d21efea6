"""One cache, one lock and one image for all integration tests: building is what takes time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.conda_real import real_channel
from tests.support.jupyterhub import HubPrograms
from tests.support.kubernetes import KubernetesCluster, kubernetes_cluster
from tests.support.lock_tools import LockTools
from tests.support.programs import Envbuild, install, require, version_of
from tests.support.servers import containerd, docker_daemon, docker_registry, scratch_directory

signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops the servers, as Ctrl-C does

_EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True, slots=True)
class Built:
    """An image: the repository, its OCI layout, and what ``envbuild build --json`` said."""

    repository: Path
    layout: Path
    document: dict[str, Any]


@pytest.fixture(scope="session")
def session_scratch() -> Iterator[Path]:
    """A directory for what all tests share; every user can enter it, unlike pytest's own."""
    with scratch_directory() as directory:
        directory.chmod(0o755)
        yield directory


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """One like ``session_scratch`` for the tests of one file: the caches of all would fill a disk."""
    with scratch_directory() as directory:
        directory.chmod(0o755)
        yield directory


@pytest.fixture(scope="session")
def envbuild(session_scratch: Path) -> Envbuild:
    """The program with the cache that the tests share; ``ENVBUILD_TEST_CACHE`` keeps it for the next run."""
    kept = os.environ.get("ENVBUILD_TEST_CACHE")
    return Envbuild(Path(kept) if kept else session_scratch / "cache")


@pytest.fixture(scope="session")
def quickstart(envbuild: Envbuild, session_scratch: Path) -> Path:
    """A copy of examples/quickstart, locked for both architectures."""
    repository = session_scratch / "quickstart"
    shutil.copytree(_EXAMPLES / "quickstart", repository)
    envbuild.document("lock", repository, "--platform", "linux/amd64", "--platform", "linux/arm64")
    return repository


@pytest.fixture(scope="session")
def built(envbuild: Envbuild, quickstart: Path, session_scratch: Path) -> Built:
    """The quickstart's image for amd64, compressed as by default."""
    layout = session_scratch / "layout"
    arguments = ("build", quickstart, "--locked", "--platform", "linux/amd64", "-o", f"oci:{layout}")
    return Built(quickstart, layout, envbuild.document(*arguments))


@pytest.fixture(scope="session")
def built_gzip(envbuild: Envbuild, quickstart: Path, session_scratch: Path) -> Built:
    """The same image for old tools."""
    layout = session_scratch / "layout-gzip"
    arguments = ("build", quickstart, "--locked", "--platform", "linux/amd64", "--compression", "gzip")
    return Built(quickstart, layout, envbuild.document(*arguments, "-o", f"oci:{layout}"))


@pytest.fixture(scope="session")
def program_for_others(session_scratch: Path) -> Path:
    """``envbuild`` where other users than ours can start it."""
    system = shutil.which("python3", path="/usr/bin")
    if system is None or version_of(system) in {"3.7", "3.8", "3.9", "3.10"}:
        pytest.skip("no recent Python that other users can start")
    return install(system, session_scratch / "for-others")


@pytest.fixture(scope="session")
def nobody(session_scratch: Path, program_for_others: Path) -> Envbuild:
    """The program as ``nobody`` runs it, with an empty cache of theirs."""
    require("setpriv", root=True)
    home = session_scratch / "nobody"
    home.mkdir()
    os.chown(home, 65534, 65534)
    prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
    return Envbuild(home / "cache", program_for_others, prefix, {"HOME": str(home), "PYTHONHASHSEED": "3"})


@pytest.fixture(scope="session")
def docker_host() -> Iterator[str]:
    """A Docker Engine of our own."""
    require("dockerd", "docker", "containerd", "runc", "ip", root=True)
    with docker_daemon() as host:
        yield host


@pytest.fixture(scope="session")
def registry() -> Iterator[str]:
    """An empty registry."""
    require("docker-registry")
    with docker_registry() as address:
        yield address


@pytest.fixture(scope="session")
def containerd_socket() -> Iterator[Path]:
    """A containerd of our own."""
    require("containerd", "ctr", "runc", root=True)
    with containerd() as address:
        yield address


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[KubernetesCluster]:
    """A cluster of three nodes of our own; what breaks nodes mends them.

    With ``ENVBUILD_TEST_CLUSTER=HOST:PORT``, a registry that its nodes and pods reach, it is the one of
    ``KUBECONFIG``.
    """
    with kubernetes_cluster() as cluster:
        yield cluster


@pytest.fixture
def kubernetes_namespace(kubernetes: KubernetesCluster) -> Iterator[str]:
    """A namespace that is deleted after the test."""
    with kubernetes.namespace() as name:
        yield name


@pytest.fixture(scope="session")
def conda_channel(envbuild: Envbuild) -> Path:
    """The directory of a channel with a Python that runs, kept with the cache the tests share."""
    return real_channel(envbuild.cache / "conda")


@pytest.fixture
def downloads_only(envbuild: Envbuild, built: Built, scratch: Path) -> Iterator[Callable[[str], Envbuild]]:
    """Makes programs with a cache that has the shared one's downloads and none of its layers."""
    made: list[Path] = []

    def make(name: str) -> Envbuild:
        cache = scratch / name
        shutil.copytree(envbuild.cache / "artifacts-v1", cache / "artifacts-v1", copy_function=os.link)
        made.append(cache)
        return Envbuild(cache)

    yield make
    for cache in made:
        subprocess.run(["rm", "-rf", str(cache)], check=True)


@pytest.fixture(scope="session")
def other_programs(envbuild: Envbuild, session_scratch: Path) -> Path:
    """Where tests install programs of others; kept with the cache that the tests share if that is kept."""
    directory = (
        envbuild.cache.with_name(envbuild.cache.name + "-tools")
        if "ENVBUILD_TEST_CACHE" in os.environ
        else session_scratch / "lock-tools"
    )
    directory.mkdir(exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def tools(other_programs: Path) -> LockTools:
    """Tools that lock."""
    return LockTools(other_programs)


@pytest.fixture(scope="session")
def hub_programs(other_programs: Path) -> HubPrograms:
    """JupyterHub and its proxy."""
    require("npm", "node")
    return HubPrograms(other_programs)
