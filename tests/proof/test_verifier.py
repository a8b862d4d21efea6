"""What is verified, from which lock, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from envbuild.errors import EnvbuildError, RepoError, UsageError
from envbuild.image.layout import write_layout
from envbuild.image.model import Image
from envbuild.inspection.inspector import Inspector
from envbuild.inspection.medium import Medium
from envbuild.lock.model import Built, ImageLayer, Lock
from envbuild.progress import Silent
from envbuild.proof.rebuilding import Recipe, cache_without_layers, lock_artifacts
from envbuild.proof.verifier import Verifier
from envbuild.source.locate import open_repo
from envbuild.store import Store
from envbuild.store.images import forget_images, record_image, stored_images
from tests.proof.conftest import NUMPY, Laboratory, compressing
from tests.support.base_images import lock_on_image, platform_image
from tests.support.builds import Machine
from tests.support.locks import PLATFORM
from tests.support.remote import fetched, pushed
from tests.support.reporters import Messages
from tests.support.tampering import Draft

pytestmark = pytest.mark.slow  # whole builds


@dataclass
class Bench:
    """A verifier on a machine whose cache has the downloads; ``made`` are the machines it rebuilt on."""

    laboratory: Laboratory
    machine: Machine
    with_source: bool = True
    shared: Callable[[str], Medium | None] = lambda environment: None
    reporter: Messages = field(default_factory=Messages)
    made: list[str] = field(default_factory=list)

    @property
    def verifier(self) -> Verifier:
        def recipe(platforms: Sequence[str]) -> Recipe:
            return Recipe(self.laboratory.lock, self.laboratory.lock_bytes, self.laboratory.repo)

        return Verifier(
            inspector=Inspector(self.machine.store, _no_registries, open_repo, self.reporter),
            recipe=recipe if self.with_source else None,
            usual=lambda recipe: self.machine.builder(),
            fresh=self._fresh,
            shared=self.shared,
            reporter=self.reporter,
        )

    def _fresh(self, recipe: Recipe, compression: str):
        self.made.append(compression)
        # Its cache is kept, so that tests are fast; tests/cli and tests/integration use one that is empty.
        return compressing(self.laboratory.machine("fresh"), compression)


def _no_registries():
    raise AssertionError("nobody is to be asked")


@pytest.fixture
def bench(laboratory: Laboratory, tmp_path: Path) -> Bench:
    machine = laboratory.machine("bench")
    forget_images(machine.store, stored_images(machine.store))
    return Bench(laboratory, machine)


def layout(bench: Bench, image: Image, directory: Path) -> str:
    write_layout([image], bench.machine.store, directory)
    return f"oci:{directory}"


def test_an_image_with_the_repositorys_files(bench: Bench, tmp_path: Path) -> None:
    name = layout(bench, bench.laboratory.complete(bench.machine), tmp_path / "layout")
    found = bench.verifier.image(name, ())

    assert (True, name, ["zstd"]) == (found.proven, found.name, bench.made)
    assert found.verdicts[0].identical


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_an_environment_image_needs_no_repository(bench: Bench, tmp_path: Path, compression: str) -> None:
    """The lock in it is enough; it is made again in the image's compression, so its digests are compared."""
    bench.with_source = False
    image = bench.laboratory.environment(bench.machine, compression)
    found = bench.verifier.image(layout(bench, image, tmp_path / "layout"), ())

    assert found.verdicts[0].identical
    assert [compression] == bench.made


def test_the_repositorys_files_cannot_be_made_from_the_lock(bench: Bench, tmp_path: Path) -> None:
    bench.with_source = False
    name = layout(bench, bench.laboratory.complete(bench.machine), tmp_path / "layout")
    with pytest.raises(UsageError, match="from its lock alone: it has the repository's files") as caught:
        bench.verifier.image(name, ())

    assert "source-needed" == caught.value.code
    assert [] == bench.made


def test_a_forged_environment_image(bench: Bench, tmp_path: Path) -> None:
    bench.with_source = False
    draft = Draft(bench.machine.store, bench.laboratory.environment(bench.machine))

    def change(members):
        next(iter(member for member in members.values() if member.info.isreg())).content += b"#"

    draft.edit("numpy", change)
    found = bench.verifier.image(layout(bench, draft.published(), tmp_path / "layout"), ())

    assert not found.proven
    assert ["numpy"] == [layer.title for layer in found.verdicts[0].layers if layer.state != "same"]


def test_an_image_of_another_lock_is_told_by_its_packages(bench: Bench, tmp_path: Path) -> None:
    name = layout(bench, bench.laboratory.complete(bench.machine), tmp_path / "layout")
    wheels = bench.laboratory.lock.targets[0].wheels
    other = replace(
        bench.laboratory.lock, targets=(replace(bench.laboratory.lock.targets[0], wheels=wheels[:1]),)
    )
    changed = Bench(replace(bench.laboratory, lock=other), bench.machine)
    with pytest.raises(RepoError, match="was made from another lock") as caught:
        changed.verifier.image(name, ())

    assert ("other-lock", "pandas: 3.0 in the image, none here") == (
        caught.value.code,
        caught.value.detail,
    )


def test_an_image_that_envbuild_did_not_make(bench: Bench, tmp_path: Path) -> None:
    draft = Draft(bench.machine.store, bench.laboratory.complete(bench.machine))
    draft.config["config"]["Labels"] = {}
    with pytest.raises(UsageError) as caught:
        bench.verifier.image(layout(bench, draft.published(), tmp_path / "layout"), ())

    assert "not-by-envbuild" == caught.value.code


def test_an_image_whose_label_names_another_lock(bench: Bench, tmp_path: Path) -> None:
    draft = Draft(bench.machine.store, bench.laboratory.complete(bench.machine))
    draft.config["config"]["Labels"]["dev.envbuild.lock.digest"] = "sha256:" + "0" * 64
    with pytest.raises(RepoError, match="its lock is not the one that its label names") as caught:
        bench.verifier.image(layout(bench, draft.published(), tmp_path / "layout"), ())

    assert "bad-lock-inside" == caught.value.code


def test_a_lock_is_no_image(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "envbuild.lock").write_bytes(bench.laboratory.lock_bytes)
    with pytest.raises(UsageError) as caught:
        bench.verifier.image(str(tmp_path / "envbuild.lock"), ())

    assert "not-an-image" == caught.value.code


# Without an image


def test_the_image_of_this_lock_in_the_cache_is_verified(bench: Bench) -> None:
    """Whatever it is called; the one with the repository's files first."""
    environment, complete = (
        bench.laboratory.environment(bench.machine),
        bench.laboratory.complete(bench.machine),
    )
    record_image(bench.machine.store, "other:1", PLATFORM, complete.manifest)
    record_image(bench.machine.store, "demo:environment", PLATFORM, environment.manifest)
    found = bench.verifier.own((PLATFORM,))

    assert ("cache:other:1", True) == (found.name, found.proven)
    assert complete.image_id == found.verdicts[0].image_id


def test_an_image_of_another_lock_in_the_cache_is_passed_over(bench: Bench) -> None:
    other = replace(bench.laboratory.lock, display_name="Other")
    image = replace(bench.laboratory, lock=other).environment(bench.machine)
    record_image(bench.machine.store, "demo:latest", PLATFORM, image.manifest)
    found = bench.verifier.own((PLATFORM,))

    assert (None, True) == (found.name, found.proven)


def test_without_any_image_it_is_built_twice(bench: Bench) -> None:
    found = bench.verifier.own((PLATFORM,))

    assert (None, True, ["zstd"]) == (found.name, found.proven, bench.made)
    assert [
        "there is no image of this lock: it is built twice, and the two are compared"
    ] == bench.reporter.notes


def test_the_shared_caches_image_is_verified(bench: Bench) -> None:
    image = bench.laboratory.environment(bench.machine)
    asked = []
    with pushed(bench.machine.store, [image]) as (registry, remote):

        def shared(environment: str) -> Medium:
            asked.append(environment)
            return remote

        bench.shared = shared
        found = bench.verifier.own((PLATFORM,))

        assert (remote.name, True) == (found.name, found.proven)
        assert {image.config.digest, image.layers[-1].digest} == fetched(registry)
    assert 1 == len(asked)
    assert asked[0].startswith("env-")


# What may be reused


def test_a_cache_without_layers_has_only_downloads_that_are_what_the_lock_says(
    bench: Bench, laboratory: Laboratory, tmp_path: Path
) -> None:
    store = Store(tmp_path / "cache")
    store.prepare()
    for artifact in lock_artifacts(laboratory.lock):
        if artifact.source == "pypi":
            source = bench.machine.store.artifact_path(artifact.sha256)
            store.artifact_path(artifact.sha256).write_bytes(source.read_bytes())
    damaged = store.artifact_path(NUMPY.sha256)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    store.put_blob(b"a layer")
    store.put_action("0" * 64, {"diff_id": "a"})
    (store.interpreters / "python").mkdir()
    (store.debian / "index").write_text("")

    with cache_without_layers(store, laboratory.lock, Silent()) as root:
        fresh = Store(root)
        fresh.prepare()
        wheels = {
            artifact.sha256 for artifact in lock_artifacts(laboratory.lock) if artifact.source == "pypi"
        }
        assert wheels - {NUMPY.sha256} == {path.name for path in fresh.artifacts.iterdir()}
        assert [] == [*fresh.blobs.iterdir(), *fresh.actions.iterdir(), *fresh.interpreters.iterdir()]
        assert ["index"] == [path.name for path in fresh.debian.iterdir()]
    assert not root.exists()
    assert damaged.exists()


def test_all_artifacts_of_a_lock(laboratory: Laboratory) -> None:
    lock: Lock = laboratory.lock
    wheel = lock.targets[0].wheels[0]
    archive = replace(wheel.artifact, sha256="c" * 64)
    required = replace(wheel, artifact=replace(wheel.artifact, sha256="d" * 64))
    built = Built("tool", "sdist", archive=archive, requires=(required,))
    lock = replace(lock, targets=(replace(lock.targets[0], built=(built,)),))

    assert {
        *(deb.artifact.sha256 for deb in lock.base.debs[PLATFORM]),
        *(one.artifact.sha256 for one in lock.base.server[PLATFORM]),
        *(one.artifact.sha256 for one in lock.targets[0].wheels),
        "c" * 64,
        "d" * 64,
    } == {artifact.sha256 for artifact in lock_artifacts(lock)}


def test_a_project_of_the_repository_needs_the_repository(bench: Bench, tmp_path: Path) -> None:
    bench.with_source = False
    target = replace(bench.laboratory.lock.targets[0], built=(Built("demo", "path", "."),))
    lock = replace(bench.laboratory.lock, targets=(target,))
    image = replace(bench.laboratory, lock=lock).environment(bench.machine)
    with pytest.raises(EnvbuildError, match="from its lock alone: demo has to be built for it"):
        bench.verifier.image(layout(bench, image, tmp_path / "layout"), ())


def test_the_blobs_of_a_base_in_a_registry_are_downloads(tmp_path: Path) -> None:
    """Nothing of them is made here, so they need not be fetched again; those that are damaged are."""
    store = Store(tmp_path / "cache")
    store.prepare()
    config, layer = (store.put_blob(data) for data in (b"a config", b"a layer"))
    damaged, made = store.put_blob(b"damaged"), store.put_blob(b"made here")
    store.blob_path(damaged.digest).write_bytes(b"another")
    layers = tuple(ImageLayer(one.digest, "gzip", one.size, "sha256:d", 9) for one in (layer, damaged))
    lock = lock_on_image(platform_image(config=config.digest, layers=layers))

    with cache_without_layers(store, lock, Silent()) as root:
        fresh = Store(root)
        assert {config.digest, layer.digest} == {f"sha256:{path.name}" for path in fresh.blobs.iterdir()}
        assert not fresh.has_blob(made.digest, made.size)
