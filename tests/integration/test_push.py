"""Images to and from the CNCF's registry, seen by skopeo."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from envbuild.image.model import Image
from envbuild.pack.tar import file
from envbuild.registry import uploads
from envbuild.store import Store
from envbuild.store.images import record_image
from tests.support.images import make_image
from tests.support.programs import Envbuild, output_of, require
from tests.support.servers import docker_registry

pytestmark = pytest.mark.slow

AMD64, ARM64 = "linux/amd64", "linux/arm64"
LARGE = random.Random(1).randbytes(uploads.CHUNK + 1_000_000)  # goes in two chunks


def new_store(path: Path) -> Store:
    made = Store(path)
    made.prepare()
    return made


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Image]:
    """One image for two platforms in the cache, called ``demo:1``, with a layer in common."""
    store = new_store(tmp_path / "cache")
    made = {}
    for platform in (AMD64, ARM64):
        layers = [[file("large", LARGE)], [file("platform", platform.encode())]]
        made[platform] = make_image(store, layers, platform=platform)
        record_image(store, "demo:1", platform, made[platform].manifest)
    return made


def inspected(*reference: str) -> bytes:
    return output_of("skopeo", "inspect", "--tls-verify=false", "--raw", *reference).encode()


def test_there_is_what_was_built_and_a_second_push_sends_nothing(
    tmp_path: Path, images: dict[str, Image]
) -> None:
    """An index over two platforms, a blob in chunks, mounts, and the way back, while skopeo looks on."""
    require("docker-registry", "skopeo")
    envbuild = Envbuild(tmp_path / "cache", environment={"HOME": str(tmp_path)})
    with docker_registry() as address:
        name = f"{address}/team/demo:1.0"

        first = envbuild.document("push", "demo:1", name, f"{address}/team/demo:latest")["pushed"]
        assert (5, 0) == (first["uploaded"]["blobs"], first["exists"]["blobs"])
        assert [name, f"{address}/team/demo:latest"] == first["references"]

        index = json.loads(inspected(f"docker://{name}"))
        assert {image.manifest.digest for image in images.values()} == {
            entry["digest"] for entry in index["manifests"]
        }
        assert inspected(f"docker://{name}") == inspected(f"docker://{address}/team/demo@{first['digest']}")

        second = envbuild.document("push", "demo:1", name)["pushed"]
        assert ({"blobs": 0, "bytes": 0}, 5, first["digest"]) == (
            second["uploaded"],
            second["exists"]["blobs"],
            second["digest"],
        )

        next_door = envbuild.document("push", "demo:1", f"{address}/other:1")["pushed"]
        assert ({"blobs": 0, "bytes": 0}, 5) == (next_door["uploaded"], next_door["mounted"]["blobs"])

        # skopeo reads every byte and checks it.
        output_of(
            *("skopeo", "copy", "--quiet", "--all", "--src-tls-verify=false"),
            *(f"docker://{address}/other:1", f"oci:{tmp_path}/copied:1"),
        )

        other = Envbuild(tmp_path / "other-cache", environment={"HOME": str(tmp_path)})
        pulled = other.document(
            "pull", name, "--platform", AMD64, "--platform", ARM64, "-o", f"oci:{tmp_path}/out"
        )
        assert first["digest"] == pulled["digest"]
        assert {platform: image.image_id for platform, image in images.items()} == {
            platform: image["image_id"] for platform, image in pulled["platforms"].items()
        }
        assert (
            first["digest"]
            == json.loads((tmp_path / "out" / "index.json").read_bytes())["manifests"][0]["digest"]
        )

        again = envbuild.document("push", f"oci:{tmp_path}/copied", f"{address}/copied:1")["pushed"]
        assert (first["digest"], 0) == (again["digest"], again["uploaded"]["blobs"])


def test_an_image_of_somebody_else(tmp_path: Path) -> None:
    """skopeo gives it one of Docker's manifests; here it is an OCI image again, of the same layers."""
    require("docker-registry", "skopeo")
    store = new_store(tmp_path / "cache")
    image = make_image(store, [[file("a", b"a")], [file("b", b"b")]], compression="gzip")
    record_image(store, "demo:1", AMD64, image.manifest)
    envbuild = Envbuild(tmp_path / "cache", environment={"HOME": str(tmp_path)})
    with docker_registry() as address:
        envbuild.document("push", "demo:1", f"{address}/demo:1")
        output_of(
            *("skopeo", "copy", "--quiet", "--format", "v2s2", "--src-tls-verify=false"),
            *("--dest-tls-verify=false", f"docker://{address}/demo:1", f"docker://{address}/docker:1"),
        )

        other = Envbuild(tmp_path / "other-cache", environment={"HOME": str(tmp_path)})
        pulled = other.document("pull", f"{address}/docker:1", "-o", f"oci:{tmp_path}/out")

        taken = pulled["platforms"][AMD64]
        assert [layer.diff_id for layer in image.layers] == [layer["diff_id"] for layer in taken["layers"]]
        assert taken["digest"] != pulled["digest"]
        seen = json.loads(output_of("skopeo", "inspect", f"oci:{tmp_path}/out"))
        assert taken["digest"] == seen["Digest"]
