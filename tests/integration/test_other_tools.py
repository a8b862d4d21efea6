"""Our images in other people's hands: skopeo, a registry, Docker, containerd."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from tests.integration.conftest import Built
from tests.support.programs import Envbuild, output_of, require

pytestmark = pytest.mark.network

_NOTEBOOK = ("jupyter", "execute", "--startup_timeout=600", "analysis.ipynb")


def _copy(layout: Path, registry: str, name: str) -> str:
    require("skopeo")
    image = f"{registry}/{name}:latest"
    output_of("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}", f"docker://{image}")
    return image


def test_skopeo_reads_the_layout(built: Built) -> None:
    """Digest, platform and layers are what we said."""
    require("skopeo")
    seen = json.loads(output_of("skopeo", "inspect", f"oci:{built.layout}"))
    assert built.document["digest"] == seen["Digest"]
    assert ("linux", "amd64") == (seen["Os"], seen["Architecture"])
    assert [layer["digest"] for layer in built.document["layers"]] == seen["Layers"]


def test_compression_does_not_change_the_image_id(built: Built, built_gzip: Built) -> None:
    """zstd and gzip are two wrappings of one image."""
    assert built.document["image_id"] == built_gzip.document["image_id"]
    assert built.document["digest"] != built_gzip.document["digest"]


def test_registry_keeps_the_digest(built: Built, registry: str) -> None:
    """What a registry serves is byte for byte what we wrote."""
    image = _copy(built.layout, registry, "digest")
    raw = output_of("skopeo", "inspect", "--tls-verify=false", f"docker://{image}")
    assert built.document["digest"] == json.loads(raw)["Digest"]


@pytest.mark.docker
def test_docker_pulls_and_runs_the_image(built_gzip: Built, registry: str, docker_host: str) -> None:
    """From a registry: Docker's image ID is ours, and the notebook runs."""
    docker = {"DOCKER_HOST": docker_host}
    image = _copy(built_gzip.layout, registry, "docker")
    output_of("docker", "pull", "--quiet", image, environment=docker)
    identity = output_of("docker", "image", "inspect", "--format", "{{.Id}}", image, environment=docker)
    assert built_gzip.document["image_id"] == identity.strip()
    output_of("docker", "run", "--rm", image, *_NOTEBOOK, environment=docker)


@pytest.mark.docker
def test_docker_runs_as_any_user_of_the_group(built_gzip: Built, registry: str, docker_host: str) -> None:
    """Hubs choose a user id of their own and mount a volume over the home directory."""
    docker = {"DOCKER_HOST": docker_host}
    image = _copy(built_gzip.layout, registry, "docker")
    run = ("docker", "run", "--rm", "--user", "12345:100", "--tmpfs", "/home/jovyan:mode=0777")
    output_of(*run, image, "sh", "-c", f"touch new && {' '.join(_NOTEBOOK)}", environment=docker)


@pytest.mark.docker
def test_docker_loads_the_archive(envbuild: Envbuild, built: Built, docker_host: str, tmp_path: Path) -> None:
    """``docker load`` of ``archive:``; the image ID is ours, and the name is the tag."""
    docker = {"DOCKER_HOST": docker_host}
    archive = tmp_path / "image.tar"
    arguments = ("build", built.repository, "--platform", "linux/amd64", "--locked", "-t", "team/demo:1")
    envbuild.document(*arguments, "--compression", "gzip", "-o", f"archive:{archive}")
    output_of("docker", "load", "--quiet", "--input", archive, environment=docker)
    inspect = ("docker", "image", "inspect", "--format", "{{.Id}}", "team/demo:1")
    assert built.document["image_id"] == output_of(*inspect, environment=docker).strip()


def test_containerd_pulls_and_runs_the_zstd_image(
    built: Built, registry: str, containerd_socket: Path
) -> None:
    """The default compression, on what Kubernetes runs."""
    image = _copy(built.layout, registry, "containerd")
    ctr = ("ctr", "--address", containerd_socket)
    output_of(*ctr, "images", "pull", "--plain-http", image)
    output_of(*ctr, "run", "--rm", "--net-host", image, f"notebook-{secrets.token_hex(4)}", *_NOTEBOOK)
