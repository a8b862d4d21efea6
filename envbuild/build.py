"""From a lock to images in the store: fetch what is missing, pack it, assemble.

Fetching (threads), packing with bytecode and compression (processes) run at the same time: a layer is
packed as soon as its own artifacts are there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from envbuild.base.host import host_platform
from envbuild.base.interpreter import Interpreter
from envbuild.fetch import Fetcher
from envbuild.image.base_config import BaseConfig
from envbuild.image.comparison import layer_paths
from envbuild.image.config import canonical, image_config, image_manifest
from envbuild.image.finding import Layers
from envbuild.image.model import Image, Layer, layer_compression
from envbuild.layers import REPOSITORY_TITLE, AptLayer, LayerPlan, RegistryLayer, needs_interpreter
from envbuild.lock.model import Artifact, Base, Lock, Wheel
from envbuild.pack import recipe
from envbuild.pack.blob import Packed, pack_entries
from envbuild.pack.tar import complete
from envbuild.pack.tree import repo_entries
from envbuild.plan import Plan, make_plan, system_layers
from envbuild.post_build import PostBuild, run_post_build
from envbuild.progress import Reporter
from envbuild.sandbox.steps import StepLayers
from envbuild.sandbox.surroundings import require_native
from envbuild.source import Origin, Repo, printable
from envbuild.source.selection import select, tell
from envbuild.spec.post_build import STEP as POST_BUILD
from envbuild.store import Store

__all__ = ["Builder"]


@dataclass(frozen=True, slots=True)
class Builder:
    """What a build works with.

    Parameters:
        layers: finds what need not be made.
        interpreter: how to start a base's Python; its second argument makes the image of the base, for this
            machine.
        base_config: the config of the registry's image that a base is for a platform; None when it is none.
        steps: runs what has to be executed.
        restore: makes wheels that no index has, and that are not in the store, be there.
        projects: builds the repository's own projects for a platform.
        compression: ``zstd``, ``gzip`` or ``none``.
        jobs: how many layers are packed at once.
    """

    store: Store
    fetcher: Fetcher
    reporter: Reporter
    layers: Layers
    interpreter: Callable[[Base, Callable[[], Image]], Interpreter]
    base_config: Callable[[Base, str], BaseConfig | None]
    steps: StepLayers
    restore: Callable[[Sequence[Artifact]], None]
    projects: Callable[[str], Sequence[Wheel]]
    compression: str = "zstd"
    jobs: int = os.cpu_count() or 1

    def environment(self, lock: Lock, lock_bytes: bytes, platforms: Sequence[str]) -> tuple[Image, ...]:
        """The environment images (without the repository's files) of ``lock``, one per platform.

        Parameters:
            lock_bytes: the lock file as written.

        Raises:
            RepoError: a package is damaged or unsafe.
            RemoteError: an artifact cannot be had.
            MachineError: the disk is full, or the base's Python does not run here.
            LayersLost: see :meth:`envbuild.image.finding.Layers.bring`.
        """
        plans = [make_plan(lock, platform, lock_bytes, self.projects(platform)) for platform in platforms]
        layers = self._layers(plans)
        return tuple(self._assemble(plan, [layers[layer.key] for layer in plan.layers]) for plan in plans)

    def base_image(self, base: Base, platform: str) -> Image:
        """The image of ``base`` alone, without a Jupyter server."""
        return self.system_image(Lock.of_base(base), platform)

    def system_image(self, lock: Lock, platform: str) -> Image:
        """The image of the base and of what ``apt.txt`` adds: what builds from source run in."""
        plan = Plan(platform, "", "", lock, system_layers(lock, platform))
        layers = self._layers([plan])
        return self._assemble(plan, [layers[layer.key] for layer in plan.layers])

    def executed_environment(
        self, lock: Lock, lock_bytes: bytes, platform: str, repo: Repo, script: PostBuild
    ) -> Image:
        """The environment image with what ``script`` changes, for running with the repository mounted.

        Raises:
            RepoError: also when the script fails.
            MachineError: also when steps cannot be run here.
        """
        (image,) = self.complete_images(lock, lock_bytes, (platform,), repo, script)
        *environment, _, changes = image.layers
        self.layers.bring([changes], self.reporter)
        if any(path.startswith(f"{recipe.REPO_DIR}/") for path in layer_paths(self.store, changes)):
            self.reporter.note(
                f"{printable(script.path)} writes into the repository's directory: with the repository"
                " mounted there, that is not visible"
            )
        return self._assemble(make_plan(lock, platform, lock_bytes), [*environment, changes])

    def complete_images(
        self,
        lock: Lock,
        lock_bytes: bytes,
        platforms: Sequence[str],
        repo: Repo,
        script: PostBuild | None = None,
    ) -> tuple[Image, ...]:
        """The environment images with the repository's files on top, and what ``script`` changes.

        Raises:
            RepoError: also when the repository has files that cannot be in an image, or the script fails.
            MachineError: also when steps cannot be run here.
        """
        if script is not None:
            for platform in platforms:
                require_native(platform, printable(script.path))
        # First, because it is quick and may find a mistake.
        with self.reporter.stage("repository") as stage:
            selection = select(repo)
            entries = complete(repo_entries(repo, selection.files))
            packed = pack_entries(self.store, entries, self.compression)
            stage.add_total(packed.raw_size)
            stage.advance(packed.raw_size)
        tell(selection, self.reporter)
        files = Layer.of(packed, REPOSITORY_TITLE)
        plans = [make_plan(lock, platform, lock_bytes, self.projects(platform)) for platform in platforms]
        layers = self._layers(plans)
        images = [
            self._assemble(plan, [*(layers[layer.key] for layer in plan.layers), files], repo.origin)
            for plan in plans
        ]
        if script is None:
            return tuple(images)
        return tuple(
            self._executed(plan, image, repo, script) for plan, image in zip(plans, images, strict=True)
        )

    def environments(self, lock: Lock, lock_bytes: bytes, images: Sequence[Image]) -> tuple[Image, ...]:
        """The environment images that complete ``images`` are made on."""
        made = []
        for image in images:
            files = max(number for number, layer in enumerate(image.layers) if not layer.key)
            plan = make_plan(lock, image.platform, lock_bytes)
            made.append(self._assemble(plan, image.layers[:files]))
        return tuple(made)

    def _executed(self, plan: Plan, image: Image, repo: Repo, script: PostBuild) -> Image:
        """``image`` with the layer of what ``script`` changes in it."""
        stepped = run_post_build(script, repo, image, self.steps)
        return self._assemble(plan, [*image.layers, stepped.layer(POST_BUILD)], repo.origin)

    def _assemble(self, plan: Plan, layers: Sequence[Layer], origin: Origin | None = None) -> Image:
        config = image_config(
            plan.lock,
            platform=plan.platform,
            env=plan.env,
            lock_digest=plan.lock_digest,
            layers=layers,
            origin=origin,
            below=self.base_config(plan.lock.base, plan.platform),
        )
        stored = self.store.put_blob(canonical(config))
        manifest = image_manifest(config, layers, config_digest=stored.digest, config_size=stored.size)
        return Image(plan.platform, stored, self.store.put_blob(canonical(manifest)), tuple(layers))

    def _layers(self, plans: Sequence[Plan]) -> dict[str, Layer]:
        """Every layer of ``plans``, by its key. What apt.txt adds is installed on top of the base's layer."""
        base = plans[0].lock.base
        done = {
            layer.key: self._taken(layer)
            for plan in plans
            for layer in plan.layers
            if isinstance(layer, RegistryLayer)
        }
        planned = {layer.key: layer for plan in plans for layer in plan.layers if layer.key not in done}
        with self.reporter.stage("pack", unit="layers") as stage:
            stage.add_total(len(planned))
            found = self.layers.find(planned)
            missing = {key: layer for key, layer in planned.items() if key not in found}
            for layer in missing.values():
                if isinstance(layer, AptLayer):
                    require_native(layer.platform, "apt.txt")
            for key, one in found.items():
                done[key] = _planned(planned[key], one.packed, one.where)
                stage.advance(1, cached=True)
            packable = {key: layer for key, layer in missing.items() if not isinstance(layer, AptLayer)}
            for key, packed in self._pack(packable, base):
                done[key] = _planned(planned[key], packed)
                stage.detail(planned[key].title)
                stage.advance(1)
        for layer in planned.values():
            if isinstance(layer, AptLayer) and (layer.key in missing or self.steps.check):
                done[layer.key] = self._installed(layer, self.base_image(base, layer.platform))
        for note in dict.fromkeys(note for key in planned for note in done[key].notes):
            self.reporter.note(note)
        return done

    def _taken(self, layer: RegistryLayer) -> Layer:
        """A layer of the image that the base is: nothing is done with it."""
        of = layer.layer
        compression = layer_compression(of.media_type)
        assert compression is not None, "the base's manifest was checked against the lock"
        return Layer(
            title=layer.title,
            diff_id=of.diff_id,
            digest=of.digest,
            size=of.size,
            raw_size=of.raw_size,
            compression=compression,
            foreign=True,
            found="store" if self.store.has_blob(of.digest, of.size) else "registry",
        )

    def _installed(self, layer: AptLayer, base: Image) -> Layer:
        # Slow to import, and a build that finds everything does not come here.
        from envbuild.apt.install import install

        self.fetcher.require(layer.artifacts)
        with self.reporter.stage("fetch") as stage:
            files = {artifact.sha256: self.fetcher.submit(artifact, stage) for artifact in layer.artifacts}
            paths = {sha256: future.result() for sha256, future in files.items()}
        return install(layer, paths, base, self.steps).layer(layer.title, layer.packages)

    def _pack(self, missing: Mapping[str, LayerPlan], base: Base) -> Iterator[tuple[str, Packed]]:
        """Fetch for and pack ``missing``; yields ``(key, packed)`` as layers are finished."""
        if not missing:
            return
        # Slow to import, and a build that finds everything does not come here.
        from envbuild.pack.worker import Job, WorkerPool

        self.restore(
            [
                artifact
                for layer in missing.values()
                for artifact in layer.artifacts
                if artifact.source == "built" and not self.store.has_artifact(artifact.sha256)
            ]
        )
        self.fetcher.require(artifact for layer in missing.values() for artifact in layer.artifacts)
        with self.reporter.stage("fetch") as stage, WorkerPool(self.store, self.jobs) as pool:
            files: dict[str, Future[Path]] = {}
            waiting = dict(sorted(missing.items(), key=_fetch_order))
            for layer in waiting.values():
                for artifact in layer.artifacts:
                    if artifact.sha256 not in files:  # the server and the user have packages in common
                        files[artifact.sha256] = self.fetcher.submit(artifact, stage)
            command: tuple[tuple[str, ...], dict[str, str]] = ((), {})
            if any(map(needs_interpreter, missing.values())):
                python = self.interpreter(base, lambda: self.base_image(base, host_platform()))
                command = (tuple(python.command), dict(python.environment))
            packing: dict[Future[Packed], str] = {}
            while waiting or packing:
                for key, layer in list(waiting.items()):
                    of = {artifact.sha256: files[artifact.sha256] for artifact in layer.artifacts}
                    if all(future.done() for future in of.values()):
                        del waiting[key]
                        paths = {sha256: future.result() for sha256, future in of.items()}
                        packing[pool.submit(Job(layer, paths, self.compression, command))] = key
                running: list[Future[Any]] = [*packing, *(f for f in files.values() if not f.done())]
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished & packing.keys():
                    yield packing.pop(future), future.result()


def _fetch_order(item: tuple[str, LayerPlan]) -> tuple[int, str]:
    """Largest layers first: the longest piece of packing should not be the last to start."""
    key, layer = item
    return (-sum(artifact.size for artifact in layer.artifacts), key)


def _planned(plan: LayerPlan, packed: Packed, found: Literal["", "store", "registry"] = "") -> Layer:
    layer = Layer.of(packed, plan.title, plan.packages, key=plan.key, found=found)
    return replace(layer, captured=isinstance(plan, AptLayer))
