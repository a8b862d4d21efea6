"""Images that travelled: inspected, compared and verified by somebody who has only downloads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from envbuild.image.descriptor import Descriptor
from envbuild.image.model import Image, Layer
from envbuild.image.reference import parse_reference
from envbuild.inspection.layout import LayoutImage
from envbuild.inspection.view import read_image
from envbuild.progress import Silent
from envbuild.registry.push import push_images
from envbuild.registry.registries import Registries
from envbuild.store import Blob, Store
from tests.integration.conftest import Built
from tests.support.programs import Envbuild, output_of, require
from tests.support.servers import docker_registry
from tests.support.tampering import Draft, Member

pytestmark = [pytest.mark.network, pytest.mark.slow]


@pytest.fixture(scope="module")
def reference(envbuild: Envbuild, built: Built, registry: str) -> str:
    """The quickstart's image in a real registry."""
    name = f"{registry}/proof/quickstart:1"
    arguments = ("build", built.repository, "--locked", "--platform", "linux/amd64", "-t", name, "--push")
    assert built.document["digest"] == envbuild.document(*arguments)["digest"]
    return name


@pytest.fixture
def stranger(downloads_only: Callable[[str], Envbuild]) -> Envbuild:
    """Somebody who has the downloads, and nothing that was made of them."""
    return downloads_only("stranger")


def verified(program: Envbuild, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
    done = program.run("verify", *arguments, "--json")
    assert code == done.returncode, f"{done.stdout}\n{done.stderr}"
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def image_of(layout: Path, store: Store) -> Image:
    """The image of a layout whose blobs are in ``store``, too."""
    medium = LayoutImage(layout)
    view = read_image(medium, medium.entries().images[0])

    def blob(descriptor: Descriptor) -> Blob:
        return Blob(descriptor.digest, descriptor.size)

    layers = tuple(
        Layer(
            layer.title,
            layer.diff_id,
            layer.digest,
            layer.size,
            layer.raw_size or 0,
            layer.compression or "",
            layer.packages,
            key=layer.key,
        )
        for layer in view.layers
    )
    return Image(view.platform, blob(view.config), blob(view.manifest), layers)


def test_what_is_in_a_registry_is_what_was_built(
    envbuild: Envbuild, built: Built, reference: str, stranger: Envbuild
) -> None:
    """Seen by somebody whose cache is empty, and who gets less than a megabyte for it."""
    seen = stranger.document("inspect", reference)

    (image,) = seen["images"]
    assert (built.document["digest"], built.document["image_id"]) == (image["digest"], image["image_id"])
    assert [(layer["digest"], layer["packages"]) for layer in built.document["layers"]] == [
        (layer["digest"], layer["packages"]) for layer in image["layers"]
    ]
    assert ("envbuild", True, None) == (image["builder"], image["lock_matches"], image["trouble"])
    assert {"python3", "quickstart"} == {kernel["name"] for kernel in image["kernels"]}
    assert [] == list((stranger.cache / "store-v1" / "blobs" / "sha256").iterdir())


def test_the_lock_comes_back_from_the_registry(
    built: Built, reference: str, stranger: Envbuild, tmp_path: Path
) -> None:
    lock = built.repository / "envbuild.lock"
    stranger.document("lock", tmp_path, "--from", reference)

    assert lock.read_bytes() == (tmp_path / "envbuild.lock").read_bytes()
    assert stranger.document("diff", lock, tmp_path / "envbuild.lock")["identical"]
    assert stranger.document("diff", reference, lock)["same"]


def test_an_image_that_travelled_is_proven_and_a_forged_one_is_not(
    envbuild: Envbuild, built: Built, reference: str, stranger: Envbuild
) -> None:
    """One line of one module of pandas is changed, and every digest is made right again."""
    document = verified(stranger, built.repository, "--image", reference)
    assert (True, True) == (document["proven"], document["images"][0]["identical"])

    store = Store(envbuild.cache)
    draft = Draft(store, image_of(built.layout, store), only=("pandas",))
    changed: list[str] = []

    def change(members: dict[str, Member]) -> None:
        name = next(name for name in members if name.endswith("/pandas/__init__.py"))
        members[name].content = b"import antigravity\n" + members[name].content
        changed.append(name)

    draft.edit("pandas", change)
    forged = parse_reference(reference).with_tag("forged")
    with Registries({}) as registries:
        push_images([draft.published()], [forged], store=store, registries=registries, reporter=Silent())

    document = verified(stranger, built.repository, "--image", str(forged), code=1)
    (image,) = document["images"]
    wrong = [layer for layer in image["layers"] if layer["state"] != "same"]
    assert [("pandas", "differs", 1)] == [
        (layer["title"], layer["state"], layer["differing"]) for layer in wrong
    ]
    (file,) = wrong[0]["files"]
    assert changed == [file["path"]]
    assert file["how"][0].startswith("content: line 1 is 'import antigravity' instead of ")
    assert [] == image["config"]


@pytest.fixture
def another_registry() -> Iterator[str]:
    """A registry that has no layer Docker could mount instead of compressing its own."""
    require("docker-registry")
    with docker_registry() as address:
        yield address


@pytest.mark.docker
def test_an_image_that_docker_pushed_has_the_same_files(
    envbuild: Envbuild, built: Built, another_registry: str, docker_host: str, stranger: Envbuild
) -> None:
    """Docker compresses layers itself: no digest is ours, and every file is."""
    name = f"{another_registry}/proof/by-docker:1"
    variables = {"DOCKER_HOST": docker_host}
    program = Envbuild(envbuild.cache, environment=variables)
    program.document("build", built.repository, "--locked", "--platform", "linux/amd64", "-t", name, "--load")
    output_of("docker", "push", "--quiet", name, environment=variables)

    (image,) = verified(stranger, built.repository, "--image", name)["images"]

    assert (True, False) == (image["proven"], image["identical"])
    assert built.document["image_id"] == image["image_id"]
    assert {"encoded"} == {layer["state"] for layer in image["layers"]}
