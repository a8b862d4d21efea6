"""From a name in a registry to what a lock says of it, and back to the image when one is built on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from envbuild.base.recipe import BaseRecipe, choose, load_recipes
from envbuild.errors import EnvbuildError, RemoteError, RepoError
from envbuild.lock.model import Base, BaseImage
from envbuild.registry.places import known_places
from envbuild.registry.registries import Registries
from envbuild.registry_base.locking import ImageLocker
from envbuild.registry_base.pinned import pinned_config
from envbuild.spec.model import BaseRequest, PythonRequest
from envbuild.store import Store
from tests.support.base_roots import added, push_image, push_index, slim
from tests.support.elf import make_elf
from tests.support.registry import FakeRegistry

AMD64, ARM64 = "linux/amd64", "linux/arm64"
NEWEST = load_recipes()[-1]
NAME = "team/python"
OTHER = "sha256:" + "1" * 64


def request(registry: FakeRegistry, tag: str = "3.12") -> BaseRequest:
    return BaseRequest(f"{registry.address}/{NAME}:{tag}", "pyproject.toml", 7)


def locked(recipe: BaseRecipe) -> Base:
    """The base of a lock that was made with ``recipe``."""
    assert recipe.image is not None
    return Base("", NEWEST.suite, recipe.python, recipe.glibc, {}, {}, "2026-01-01T00:00:00Z", recipe.image)


def image_of(recipe: BaseRecipe) -> BaseImage:
    assert recipe.image is not None
    return recipe.image


@pytest.mark.parametrize("docker", [False, True], ids=["OCI", "Docker"])
def test_an_image_is_pinned_with_what_is_in_it(
    registry: FakeRegistry, locker: ImageLocker, docker: bool
) -> None:
    pushed = push_image(registry, NAME, [slim(), {"a": b"1"}], tag="3.12", docker=docker)
    recipe = locker.lock(request(registry), [AMD64], None, NEWEST)
    image = image_of(recipe).platforms[AMD64]

    assert ("3.12.4", "2.36", NEWEST.server) == (recipe.python, recipe.glibc, recipe.server)
    assert (pushed["digest"], pushed["digest"]) == (image_of(recipe).digest, image.digest)
    assert ("/usr/local/bin/python3.12", "debian bookworm") == (image.python, image.distribution)
    manifest = registry.contents.manifest(NAME, "3.12").document
    assert [(layer["digest"], layer["mediaType"], layer["size"]) for layer in manifest["layers"]] == [
        (layer.digest, layer.media_type, layer.size) for layer in image.layers
    ]
    assert all(layer.raw_size % 512 == 0 and layer.raw_size for layer in image.layers)
    assert {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHON_VERSION": "3.12.4"} == dict(image.variables)


@pytest.mark.parametrize("docker", [False, True], ids=["OCI", "Docker"])
def test_an_index_gives_each_platform_its_image(
    registry: FakeRegistry, locker: ImageLocker, docker: bool
) -> None:
    """Attestations, and images for machines with more than ours, are passed over."""
    images = [
        push_image(registry, NAME, [slim(platform=platform)], platform=platform, docker=docker)
        for platform in (AMD64, ARM64)
    ]
    images[1]["platform"]["variant"] = "v8"
    other = {**images[0], "platform": {"os": "linux", "architecture": "amd64", "variant": "v3"}}
    unknown = {**images[0], "platform": {"os": "unknown", "architecture": "unknown"}}
    index = push_index(registry, NAME, [other, *images, unknown], "3.12", docker=docker)

    found = image_of(locker.lock(request(registry), [ARM64, AMD64], None, NEWEST))

    assert index["digest"] == found.digest
    assert {AMD64: images[0]["digest"], ARM64: images[1]["digest"]} == {
        platform: image.digest for platform, image in found.platforms.items()
    }


def test_files_that_upper_layers_remove_are_not_found(registry: FakeRegistry, locker: ImageLocker) -> None:
    push_image(
        registry,
        NAME,
        [slim(), {"usr/local/bin/.wh.python3": b"", "usr/local/bin/.wh.python": b""}],
        tag="3.12",
    )

    with pytest.raises(RepoError) as caught:
        locker.lock(request(registry), [AMD64], None, NEWEST)

    assert ("base-no-python", "pyproject.toml", 7) == (
        caught.value.code,
        caught.value.file,
        caught.value.line,
    )


class TestWhatIsKept:
    def test_an_earlier_digest_counts_while_the_name_is_the_same(
        self, registry: FakeRegistry, locker: ImageLocker
    ) -> None:
        """Without asking anybody."""
        push_image(registry, NAME, [slim("3.12.4")], tag="3.12")
        before = locker.lock(request(registry), [AMD64], None, NEWEST)
        push_image(registry, NAME, [slim("3.12.5")], tag="3.12")
        asked = len(registry.requests)

        assert before == locker.lock(request(registry), [AMD64], locked(before), NEWEST)
        assert asked == len(registry.requests)

    def test_a_digest_that_the_registry_has_lost_is_the_registrys_fault(
        self, registry: FakeRegistry, locker: ImageLocker
    ) -> None:
        """Not that of the repository, whose name is right."""
        push_image(registry, NAME, [slim()], tag="3.12")
        before = locker.lock(request(registry), [AMD64], None, NEWEST)
        lost = replace(image_of(before), digest=OTHER)

        with pytest.raises(RemoteError, match="no longer has the image") as caught:
            locker.lock(request(registry), [AMD64, ARM64], replace(locked(before), image=lost), NEWEST)

        assert "base-missing" == caught.value.code
        assert "--upgrade-base" in (caught.value.remedy or "")

    def test_manifest_and_config_are_fetched_once(self, registry: FakeRegistry, locker: ImageLocker) -> None:
        push_image(registry, NAME, [slim()], tag="3.12")

        locker.lock(request(registry), [AMD64], None, NEWEST)

        assert ["get-manifest", "get-blob", "get-blob"] == [
            one.kind for one in registry.requests if one.kind.startswith("get-")
        ]

    def test_an_upgrade_asks_again(self, registry: FakeRegistry, locker: ImageLocker) -> None:
        push_image(registry, NAME, [slim("3.12.4")], tag="3.12")
        locker.lock(request(registry), [AMD64], None, NEWEST)
        push_image(registry, NAME, [slim("3.12.5")], tag="3.12")

        assert "3.12.5" == locker.lock(request(registry), [AMD64], None, NEWEST).python

    def test_another_name_is_another_image(self, registry: FakeRegistry, locker: ImageLocker) -> None:
        push_image(registry, NAME, [slim("3.12.4")], tag="3.12")
        push_image(registry, NAME, [slim("3.13.1")], tag="3.13")
        before = locker.lock(request(registry), [AMD64], None, NEWEST)

        assert "3.13.1" == locker.lock(request(registry, "3.13"), [AMD64], locked(before), NEWEST).python

    def test_a_further_platform_is_of_the_same_digest(
        self, registry: FakeRegistry, locker: ImageLocker
    ) -> None:
        def push(version: str) -> None:
            images = [
                push_image(registry, NAME, [slim(version, platform=one)], platform=one)
                for one in (AMD64, ARM64)
            ]
            push_index(registry, NAME, images, "3.12")

        push("3.12.4")
        before = locker.lock(request(registry), [AMD64], None, NEWEST)
        push("3.12.5")
        after = locker.lock(request(registry), [AMD64, ARM64], locked(before), NEWEST)

        assert ("3.12.4", image_of(before).digest) == (after.python, image_of(after).digest)
        assert {AMD64, ARM64} == image_of(after).platforms.keys()

    def test_layers_are_looked_at_once(self, registry: FakeRegistry, locker: ImageLocker) -> None:
        """What is known of a digest is remembered, also when another name leads there."""
        push_image(registry, NAME, [slim()], tag="3.12")
        push_image(registry, NAME, [slim()], tag="also")
        first = locker.lock(request(registry), [AMD64], None, NEWEST)
        (layer,) = image_of(first).platforms[AMD64].layers

        again = locker.lock(request(registry, "also"), [AMD64], None, NEWEST)

        assert image_of(first).platforms == image_of(again).platforms
        assert 1 == sum(one.kind == "get-blob" and layer.digest in one.target for one in registry.requests)

    def test_where_layers_are_is_remembered_for_pushes(
        self, registry: FakeRegistry, locker: ImageLocker, store: Store
    ) -> None:
        push_image(registry, NAME, [slim()], tag="3.12")
        (layer,) = image_of(locker.lock(request(registry), [AMD64], None, NEWEST)).platforms[AMD64].layers

        assert (f"{registry.address}/{NAME}",) == known_places(store, layer.digest)


class TestRefusals:
    def refused(
        self, registry: FakeRegistry, locker: ImageLocker, code: str, platforms: tuple[str, ...] = (AMD64,)
    ) -> EnvbuildError:
        with pytest.raises(RepoError) as caught:
            locker.lock(request(registry), platforms, None, NEWEST)
        assert code == caught.value.code
        assert ("pyproject.toml", 7) == (caught.value.file, caught.value.line)
        assert caught.value.remedy
        return caught.value

    def test_no_such_image(self, registry: FakeRegistry, locker: ImageLocker) -> None:
        assert "there is no image" in self.refused(registry, locker, "base-missing").message

    def test_a_platform_that_it_is_not_for(self, registry: FakeRegistry, locker: ImageLocker) -> None:
        push_image(registry, NAME, [slim()], tag="3.12")

        error = self.refused(registry, locker, "base-lacks-platform", (AMD64, ARM64))
        assert "is not there for linux/arm64: it is for linux/amd64" in error.message

    @pytest.mark.parametrize("platform", ["windows/amd64", "wasip1/wasm"])
    def test_another_system(self, registry: FakeRegistry, locker: ImageLocker, platform: str) -> None:
        push_index(registry, NAME, [push_image(registry, NAME, [slim()], platform=platform)], "3.12")

        assert f"it is for {platform}" in self.refused(registry, locker, "base-lacks-platform").message

    def test_too_many_layers(self, registry: FakeRegistry, locker: ImageLocker) -> None:
        push_image(registry, NAME, [{"a": b"1"}] * 61, tag="3.12")

        assert "has 61 layers" in self.refused(registry, locker, "base-many-layers").message

    def test_an_artifact_that_is_no_image(self, registry: FakeRegistry, locker: ImageLocker) -> None:
        config = registry.contents.put_blob(NAME, b"{}")
        described = {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": config, "size": 2}
        push_image(registry, NAME, [slim()], tag="3.12", config=described)

        assert "not of a container image" in self.refused(registry, locker, "base-unreadable").message

    def test_layers_of_a_kind_nobody_knows(self, registry: FakeRegistry, locker: ImageLocker) -> None:
        blob = registry.contents.put_blob(NAME, b"x")
        kind = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"
        layers = [{"mediaType": kind, "digest": blob, "size": 1}]
        push_image(registry, NAME, [slim()], tag="3.12", layers=layers)

        assert "gzip+encrypted" in self.refused(registry, locker, "base-unreadable").message

    def test_a_config_with_another_number_of_layers(
        self, registry: FakeRegistry, locker: ImageLocker
    ) -> None:
        one = push_image(registry, NAME, [slim()])
        config = registry.contents.manifest(NAME, one["digest"]).document["config"]
        push_image(registry, NAME, [slim(), {"a": b"1"}], tag="3.12", config=config)

        assert "2 layers, and its config 1" in self.refused(registry, locker, "base-unreadable").message

    def test_a_layer_that_is_not_the_one_of_the_config(
        self, registry: FakeRegistry, locker: ImageLocker
    ) -> None:
        """Its digest is right; what it unfolds to is something else."""
        one = push_image(registry, NAME, [slim()])
        config = registry.contents.manifest(NAME, one["digest"]).document["config"]
        push_image(registry, NAME, [slim("3.12.9")], tag="3.12", config=config)

        with pytest.raises(RemoteError, match="is not the layer with the diff ID"):
            locker.lock(request(registry), [AMD64], None, NEWEST)

    def test_different_pythons_on_two_platforms(self, registry: FakeRegistry, locker: ImageLocker) -> None:
        images = [
            push_image(registry, NAME, [slim(version, platform=one)], platform=one)
            for one, version in ((AMD64, "3.12.4"), (ARM64, "3.12.3"))
        ]
        push_index(registry, NAME, images, "3.12")

        error = self.refused(registry, locker, "base-platforms-differ", (AMD64, ARM64))
        assert "3.12.4 on linux/amd64, 3.12.3 on linux/arm64" in error.message

    def test_an_image_that_is_for_another_platform_than_its_index_says(
        self, registry: FakeRegistry, locker: ImageLocker
    ) -> None:
        image = push_image(registry, NAME, [slim(platform=ARM64)], platform=ARM64)
        push_index(registry, NAME, [image | {"platform": {"os": "linux", "architecture": "amd64"}}], "3.12")

        self.refused(registry, locker, "base-wrong-architecture")

    def test_musl_with_the_reason_and_a_way_out(self, registry: FakeRegistry, locker: ImageLocker) -> None:
        musl = slim() | {"usr/local/bin/python3.12": make_elf(interpreter="/lib/ld-musl-x86_64.so.1")}
        push_image(registry, NAME, [musl], tag="3.12")

        error = self.refused(registry, locker, "base-musl")
        assert f"the base {registry.address}/{NAME}:3.12 has musl" in error.message
        assert "-slim" in (error.remedy or "")

    def test_a_c_library_older_than_wheels_are_made_for(
        self, registry: FakeRegistry, locker: ImageLocker
    ) -> None:
        push_image(registry, NAME, [slim(glibc="2.12")], tag="3.12")

        assert "glibc 2.12, is too old" in self.refused(registry, locker, "base-old-glibc").message

    def test_layers_that_want_to_write_elsewhere(self, registry: FakeRegistry, locker: ImageLocker) -> None:
        push_image(registry, NAME, [slim(), {"../escaped": b"x"}], tag="3.12")

        self.refused(registry, locker, "unsafe-base-layer")

    def test_a_python_that_the_repository_does_not_want(
        self, registry: FakeRegistry, locker: ImageLocker
    ) -> None:
        push_image(registry, NAME, [slim()], tag="3.12")
        recipe = locker.lock(request(registry), [AMD64], None, NEWEST)

        with pytest.raises(RepoError, match=r"asks for Python >=3.13, and the base .* has 3.12.4") as caught:
            choose([PythonRequest(">=3.13", "setup.cfg", 3)], [recipe])

        assert ("python-not-offered", "setup.cfg", 3) == (
            caught.value.code,
            caught.value.file,
            caught.value.line,
        )


class TestBuildingOnIt:
    @pytest.fixture
    def base(self, registry: FakeRegistry, locker: ImageLocker) -> BaseImage:
        push_image(registry, NAME, [slim(), {"a": b"1"}], tag="3.12")
        return image_of(locker.lock(request(registry), [AMD64], None, NEWEST))

    @pytest.fixture
    def elsewhere(self, tmp_path: Any) -> Store:
        """The cache of a machine that only has the lock."""
        made = Store(tmp_path / "elsewhere")
        made.prepare()
        return made

    def test_manifest_and_config_are_all_that_is_fetched(
        self, registry: FakeRegistry, registries: Registries, base: BaseImage, elsewhere: Store
    ) -> None:
        before = len(registry.requests)
        config = pinned_config(base, AMD64, store=elsewhere, registries=lambda: registries)

        assert ["get-manifest", "get-blob"] == [one.kind for one in registry.requests[before:]]
        assert 2 == len(config.diff_ids)
        assert not any(elsewhere.has_blob(layer.digest, layer.size) for layer in base.platforms[AMD64].layers)

    def test_the_second_time_nobody_is_asked(
        self, registries: Registries, base: BaseImage, elsewhere: Store
    ) -> None:
        pinned_config(base, AMD64, store=elsewhere, registries=lambda: registries)

        def nobody() -> Registries:
            raise AssertionError("somebody is asked")

        assert pinned_config(base, AMD64, store=elsewhere, registries=nobody).diff_ids

    @pytest.mark.parametrize(
        "change",
        [
            lambda image: {"layers": image.layers[:1]},
            lambda image: {"layers": image.layers[::-1]},
            lambda image: {"layers": (replace(image.layers[0], diff_id=OTHER), image.layers[1])},
            lambda image: {"layers": (replace(image.layers[0], size=5), image.layers[1])},
        ],
        ids=["fewer layers", "in another order", "another diff ID", "another size"],
    )
    def test_a_lock_that_says_something_else_is_refused(
        self,
        registries: Registries,
        base: BaseImage,
        elsewhere: Store,
        change: Callable[[Any], dict[str, Any]],
    ) -> None:
        image = base.platforms[AMD64]
        lying = replace(base, platforms={AMD64: replace(image, **change(image))})

        with pytest.raises(RepoError) as caught:
            pinned_config(lying, AMD64, store=elsewhere, registries=lambda: registries)

        assert "base-differs" == caught.value.code

    def test_an_image_that_is_gone_says_what_to_do(
        self, registry: FakeRegistry, registries: Registries, base: BaseImage, elsewhere: Store
    ) -> None:
        gone = "sha256:" + hashlib.sha256(json.dumps("gone").encode()).hexdigest()
        lost = replace(base, platforms={AMD64: replace(base.platforms[AMD64], digest=gone)})

        with pytest.raises(RemoteError, match="no longer has the image") as caught:
            pinned_config(lost, AMD64, store=elsewhere, registries=lambda: registries)

        assert "--upgrade-base" in (caught.value.remedy or "")


def test_what_dpkg_administers_is_found_again_when_it_was_forgotten(
    registry: FakeRegistry, locker: ImageLocker, store: Store
) -> None:
    push_image(registry, NAME, [added(slim())], tag="3.12")
    base = image_of(locker.lock(request(registry), [AMD64], None, NEWEST))
    known = locker.packages(base, AMD64)
    for record in store.actions.iterdir():
        record.unlink()

    assert ["libc6"] == [package.name for package in known]
    assert known == locker.packages(base, AMD64)
