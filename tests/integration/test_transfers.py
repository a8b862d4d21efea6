"""What other people's tools fetch of our images from a registry: once everything, then what is new.

Counted by the registry. The images are small; which blobs travel does not depend on their sizes.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from envbuild.image.model import Image
from envbuild.pack.tar import file
from envbuild.store import Store
from envbuild.store.images import record_image
from tests.support.images import make_image
from tests.support.podman import Podman, podman, podman_missing
from tests.support.programs import Envbuild, output_of, require, skip_for
from tests.support.servers import docker_registry
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.docker]

_SENT = re.compile(r'"GET /v2/\S+/blobs/(sha256:[0-9a-f]{64}) HTTP/1\.1" 20[06] (\d+)')
_CHANGED = 1  # with two layers above it
Pull = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Studio:
    """A cache with images, and a registry that counts."""

    store: Store
    envbuild: Envbuild
    registry: str
    log: Path

    def push(self, name: str, *images: Image) -> str:
        """Push images (one per platform); returns the reference."""
        for image in images:
            record_image(self.store, name, image.platform, image.manifest)
        self.envbuild.document("push", name, f"{self.registry}/{name}")
        return f"{self.registry}/{name}"

    def sent_by(self, pull: Pull, reference: str, *awaited: str) -> dict[str, int]:
        """Digest -> bytes of the blobs that the registry sends while ``pull`` fetches ``reference``.

        What it has sent it writes down when the client may have it already: the digests ``awaited`` are
        waited for.
        """
        before = len(_SENT.findall(self.log.read_text()))
        pull(reference)

        def found() -> list[tuple[str, str]]:
            return _SENT.findall(self.log.read_text())[before:]

        wait_until(lambda: {*awaited} <= {digest for digest, _ in found()}, otherwise=found)
        sent = found()
        assert len(sent) == len({digest for digest, _ in sent}), sent  # nothing twice
        return {digest: int(size) for digest, size in sent}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    require("docker-registry")
    directory = tmp_path_factory.mktemp("transfers")
    store = Store(directory / "cache")
    store.prepare()
    log = directory / "log"
    with docker_registry(access_log=log) as address:
        program = Envbuild(directory / "cache", environment={"HOME": str(directory)})
        yield Studio(store, program, address, log)


def _content(test: str, layer: int, version: object) -> bytes:
    return random.Random(f"{test} {layer} {version}").randbytes(100_000 * (layer + 1))


def _image(
    store: Store, test: str, version: int = 1, *, compression: str = "zstd", platform: str = "linux/amd64"
) -> Image:
    """An image that no other ``test`` has layers of, of which ``_CHANGED`` is that of ``version`` and the
    lowest is the platform's.
    """
    versions = [platform, version, "", ""]
    layers = [[file(f"srv/{layer}", _content(test, layer, of))] for layer, of in enumerate(versions)]
    return make_image(store, layers, compression=compression, platform=platform)


def _docker(request: pytest.FixtureRequest) -> Pull:
    environment = {"DOCKER_HOST": request.getfixturevalue("docker_host")}
    return lambda reference: output_of("docker", "pull", "--quiet", reference, environment=environment)


def _podman(request: pytest.FixtureRequest) -> Pull:
    started = request.getfixturevalue("rootful_podman")
    return lambda reference: started.output("pull", "--quiet", "--tls-verify=false", reference)


def _containerd(request: pytest.FixtureRequest) -> Pull:
    ctr = ("ctr", "--address", request.getfixturevalue("containerd_socket"))
    return lambda reference: output_of(*ctr, "images", "pull", "--plain-http", reference)


def _skopeo(request: pytest.FixtureRequest) -> Pull:
    require("skopeo")
    layout = request.getfixturevalue("tmp_path") / "layout"
    copy = ("skopeo", "copy", "--quiet", "--src-tls-verify=false")
    return lambda reference: output_of(
        *copy, f"docker://{reference}", f"oci:{layout}:{reference.rpartition(':')[2]}"
    )


@pytest.fixture(scope="module")
def rootful_podman() -> Iterator[Podman]:
    skip_for(podman_missing())
    with podman() as started:
        yield started


@pytest.mark.parametrize(
    ("tool", "compression", "above"),
    [
        # A layer in Docker's own store is known by those below it, so what is above a new one is new, too.
        pytest.param(_docker, "gzip", True, id="docker"),
        pytest.param(_podman, "zstd", False, id="podman"),
        pytest.param(_podman, "gzip", False, id="podman-gzip"),
        pytest.param(_containerd, "zstd", False, id="containerd"),
        pytest.param(_containerd, "gzip", False, id="containerd-gzip"),
        pytest.param(_skopeo, "zstd", False, id="skopeo"),
    ],
)
def test_after_a_change_only_what_is_new_travels(
    studio: Studio,
    request: pytest.FixtureRequest,
    tool: Callable[[pytest.FixtureRequest], Pull],
    compression: str,
    above: bool,
) -> None:
    """The first pull has every blob once; the next the changed layer and the configuration."""
    pull = tool(request)
    name = f"bump/{request.node.callspec.id}"
    images = [_image(studio.store, name, version, compression=compression) for version in (1, 2)]
    last = None if above else _CHANGED + 1
    new = (images[0].layers, images[1].layers[_CHANGED:last])
    for version, (image, layers) in enumerate(zip(images, new, strict=True), start=1):
        expected = {blob.digest: blob.size for blob in (*layers, image.config)}
        reference = studio.push(f"{name}:{version}", image)
        assert expected == studio.sent_by(pull, reference, *expected)


def _docker_arm64(request: pytest.FixtureRequest, reference: str) -> None:
    environment = {"DOCKER_HOST": request.getfixturevalue("docker_host")}
    options = ("--quiet", "--platform", "linux/arm64")
    output_of("docker", "pull", *options, reference, environment=environment)
    said = output_of(
        "docker", "image", "inspect", "--format", "{{.Architecture}}", reference, environment=environment
    )
    assert "arm64\n" == said


def _podman_arm64(request: pytest.FixtureRequest, reference: str) -> None:
    started = request.getfixturevalue("rootful_podman")
    started.output("pull", "--quiet", "--tls-verify=false", "--arch", "arm64", reference)
    assert "arm64\n" == started.output("image", "inspect", "--format", "{{.Architecture}}", reference)


def _containerd_arm64(request: pytest.FixtureRequest, reference: str) -> None:
    ctr = ("ctr", "--address", request.getfixturevalue("containerd_socket"))
    output_of(*ctr, "images", "pull", "--plain-http", "--platform", "linux/arm64", reference)


def _skopeo_arm64(request: pytest.FixtureRequest, reference: str) -> None:
    require("skopeo")
    layout = request.getfixturevalue("tmp_path") / "arm64"
    choose = ("skopeo", "--override-arch", "arm64", "copy", "--quiet", "--src-tls-verify=false")
    output_of(*choose, f"docker://{reference}", f"oci:{layout}:1")


@pytest.mark.parametrize(
    "tool",
    [
        pytest.param(_docker_arm64, id="docker"),
        pytest.param(_podman_arm64, id="podman"),
        pytest.param(_containerd_arm64, id="containerd"),
        pytest.param(_skopeo_arm64, id="skopeo"),
    ],
)
def test_of_an_index_the_image_of_the_wanted_platform_is_pulled(
    studio: Studio, request: pytest.FixtureRequest, tool: Callable[[pytest.FixtureRequest, str], None]
) -> None:
    """One name, two architectures, pushed by a machine of one: the other's blobs stay where they are."""
    name = f"index/{request.node.callspec.id}"
    images = {
        platform: _image(studio.store, name, compression="gzip", platform=platform)
        for platform in ("linux/amd64", "linux/arm64")
    }
    reference = studio.push(f"{name}:1", *images.values())
    raw = json.loads(output_of("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{reference}"))
    assert {platform: image.manifest.digest for platform, image in images.items()} == {
        f"linux/{entry['platform']['architecture']}": entry["digest"] for entry in raw["manifests"]
    }
    foreign, own = (images[platform].layers[0].digest for platform in ("linux/amd64", "linux/arm64"))
    sent = studio.sent_by(lambda reference: tool(request, reference), reference, own)
    assert foreign not in sent


def test_a_docker_that_knows_no_zstd_says_so_in_its_way_and_takes_the_image_from_us(
    studio: Studio, docker_host: str
) -> None:
    """Before Docker 23 a pull of zstd layers fails; ``--load`` and gzip work with every version."""
    environment = {"DOCKER_HOST": docker_host}
    image = _image(studio.store, "zstd")
    reference = studio.push("zstd:1", image)
    version = output_of("docker", "version", "--format", "{{.Server.Version}}", environment=environment)
    if int(version.partition(".")[0]) < 23:
        with pytest.raises(AssertionError, match="archive/tar: invalid tar header"):
            output_of("docker", "pull", reference, environment=environment)
    else:
        output_of("docker", "pull", reference, environment=environment)
    envbuild = Envbuild(studio.store.root, environment=environment)
    document = envbuild.document(
        "pull", reference, "--load", "--engine", "docker", "--platform", "linux/amd64"
    )
    assert "docker" == document["loaded"]
    inspect = ("docker", "image", "inspect", "--format", "{{.Id}}", document["name"])
    assert image.image_id == output_of(*inspect, environment=environment).strip()


def test_archives_are_imported(studio: Studio, tmp_path: Path, containerd_socket: Path) -> None:
    """``archive:`` in containerd and, copied by skopeo, as a layout with the same image ID."""
    require("skopeo")
    image = _image(studio.store, "archived")
    reference = studio.push("archived:1", image)
    archive = tmp_path / "image.tar"
    studio.envbuild.document("pull", reference, "-o", f"archive:{archive}")
    ctr = ("ctr", "--address", containerd_socket, "images")
    output_of(*ctr, "import", archive)
    assert f"{reference} " in output_of(*ctr, "list")
    for form in ("oci-archive", "docker-archive"):
        config = output_of("skopeo", "inspect", "--config", "--raw", f"{form}:{archive}")
        expected = studio.store.blob_path(image.config.digest).read_text()
        assert expected == config


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_layouts_are_read(studio: Studio, tmp_path: Path, rootful_podman: Podman, compression: str) -> None:
    """By buildah, and by umoci, which before 0.5 knows no zstd. An image in a layout is found by its name."""
    require("umoci", "buildah")
    image = _image(studio.store, f"layout {compression}", compression=compression)
    reference = studio.push(f"layout:{compression}", image)
    layout = tmp_path / "layout"
    studio.envbuild.document("pull", reference, "-o", f"oci:{layout}")
    environment = rootful_podman.environment
    container = output_of("buildah", "from", f"oci:{layout}:{reference}", environment=environment).strip()
    try:
        files = [Path(output_of("buildah", "mount", container, environment=environment).strip())]
        if compression == "gzip":
            output_of("umoci", "unpack", "--image", f"{layout}:{reference}", tmp_path / "bundle")
            files.append(tmp_path / "bundle" / "rootfs")
        expected = _content(f"layout {compression}", _CHANGED, 1)
        assert [expected] * len(files) == [(root / "srv" / str(_CHANGED)).read_bytes() for root in files]
    finally:
        output_of("buildah", "rm", container, environment=environment)
