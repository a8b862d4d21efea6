"""A repository's image, built by an engine or, when nothing has changed since, taken from the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from envbuild.builder.context import Context, digest, files_of, write_context
from envbuild.builder.contract import Lack, lacks
from envbuild.builder.docker_build import build_context, take_image
from envbuild.builder.repo2docker import repo2docker_context, version
from envbuild.engine import Docker
from envbuild.errors import MachineError
from envbuild.image.model import Image, Layer
from envbuild.pack import recipe
from envbuild.pack.tar import Entry
from envbuild.progress import Reporter
from envbuild.source import Repo
from envbuild.spec.findings import refuse_errors
from envbuild.spec.model import EngineBuild, Spec
from envbuild.store import Blob, Store

__all__ = ["EngineBuilder", "EngineBuilt"]

_NAME = "envbuild/built"


@dataclass(frozen=True, slots=True)
class EngineBuilt:
    """The image in the store, what it ``lacks`` for hubs and notebooks, and the ``key`` it is found by."""

    image: Image
    lacks: tuple[Lack, ...]
    key: str


@dataclass(frozen=True, slots=True)
class EngineBuilder:
    """What such a build works with.

    Parameters:
        docker: the engine; nothing but a changed repository needs it to work.
        environment: the user's variables, for proxies and certificates.
        base_image: what repo2docker builds on instead of its own base image.
    """

    store: Store
    docker: Docker
    reporter: Reporter
    environment: Mapping[str, str]
    compression: str = "zstd"
    base_image: str | None = None

    def build(self, repo: Repo, spec: Spec, platform: str) -> EngineBuilt:
        """The image that ``spec.engine_build`` asks for.

        Raises:
            RepoError: a step of the build failed.
            RemoteError: a server that the build needs cannot be reached.
            MachineError: there is no engine.
        """
        refuse_errors(spec)
        assert spec.engine_build is not None
        files = files_of(repo)
        key = self._key(spec.engine_build, files, platform)
        found = self._find(key)
        if found is not None:
            return found
        reason = self.docker.unavailable()
        if reason is not None:
            raise MachineError(
                f"this has to be built by a container engine, and there is none: {reason}",
                code="no-engine",
                file=spec.engine_build.path,
                remedy="make Docker work here (`envbuild doctor` checks), or describe the environment in"
                " requirements.txt, environment.yml and apt.txt, which need no engine",
            )
        labels = {
            "dev.envbuild.key": key,
            "dev.envbuild.builder": spec.engine_build.kind,
            "org.opencontainers.image.title": spec.name,
            "repo2docker.ref": "None",
            "repo2docker.repo": "local",
        }
        with self.store.temporary_directory() as scratch:
            context = self._context(spec.engine_build, files, platform, labels, scratch)
            identifier = build_context(
                self.docker.client,
                context,
                file=spec.engine_build.path,
                tag=f"{_NAME}:{key[:12]}",
                labels=labels,
                platform=platform,
                environment=self.environment,
                reporter=self.reporter,
            )
        missing = lacks(self.docker.client, identifier, spec.notebooks)
        image = take_image(
            self.docker.client,
            identifier,
            store=self.store,
            compression=self.compression,
            reporter=self.reporter,
        )
        self._keep(key, image, missing)
        return EngineBuilt(image, missing, key)

    def _context(
        self,
        build: EngineBuild,
        files: list[Entry],
        platform: str,
        labels: Mapping[str, str],
        scratch: Path,
    ) -> Context:
        if build.kind == "Dockerfile":
            context = Context(scratch / "context.tar", build.path)
            write_context(files, context.archive)
            return context
        return repo2docker_context(
            files,
            directory=build.path.rpartition("/")[0],
            platform=platform,
            labels=labels,
            store=self.store,
            environment=self.environment,
            scratch=scratch,
            base_image=self.base_image,
        )

    def _key(self, build: EngineBuild, files: list[Entry], platform: str) -> str:
        """The sha256 (hex) of all that decides about the image and is known before it is built."""
        known = [
            recipe.VERSION,
            asdict(build),
            digest(files),
            platform,
            self.base_image,
            version() if build.kind == "repo2docker" else None,
        ]
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()

    def _find(self, key: str) -> EngineBuilt | None:
        """The image that was built for ``key``, if the store still has all of it."""
        record = self.store.action(_action(key, self.compression))
        if record is None:
            return None
        try:
            image = _load(record["image"])
            missing = tuple(Lack(**lack) for lack in record["lacks"])
        except (KeyError, TypeError):
            return None
        blobs = [(layer.digest, layer.size) for layer in image.layers]
        blobs += [(blob.digest, blob.size) for blob in (image.config, image.manifest)]
        if not all(self.store.has_blob(blob, size) for blob, size in blobs):
            return None
        return EngineBuilt(image, missing, key)

    def _keep(self, key: str, image: Image, missing: tuple[Lack, ...]) -> None:
        record = {"image": asdict(image), "lacks": [asdict(lack) for lack in missing]}
        self.store.put_action(_action(key, self.compression), record)


def _action(key: str, compression: str) -> str:
    return hashlib.sha256(f"engine build {key} {compression}".encode()).hexdigest()


def _load(record: dict[str, Any]) -> Image:
    layers = []
    for layer in record["layers"]:
        values = {**layer, "packages": tuple(layer["packages"]), "notes": tuple(layer["notes"])}
        layers.append(replace(Layer(**values), found="store"))
    return Image(record["platform"], Blob(**record["config"]), Blob(**record["manifest"]), tuple(layers))
