"""Making an image once more from its lock, with nothing that was made before."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild.image.model import Image
from envbuild.lock.model import Artifact, CondaPackage, Deb, Lock, Wheel
from envbuild.progress import Reporter
from envbuild.proof.claim import Form
from envbuild.source import Repo
from envbuild.store import Store

if TYPE_CHECKING:
    from envbuild.build import Builder
    from envbuild.post_build import PostBuild

__all__ = ["Rebuilt", "Recipe", "cache_without_layers", "lock_artifacts", "rebuild"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an image is made from: a lock, and the repository if its files or its script are part of it."""

    lock: Lock
    lock_bytes: bytes
    repo: Repo | None = None
    script: PostBuild | None = None


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Images that were just made, one per platform, and the cache that has them."""

    images: tuple[Image, ...]
    store: Store


def rebuild(recipe: Recipe, form: Form, platforms: Sequence[str], builder: Builder) -> Rebuilt:
    """Make the images of ``recipe``.

    Parameters:
        form: which parts they have.
        builder: works in a cache of its own (:func:`cache_without_layers`).

    Raises:
        RepoError, RemoteError, MachineError: as for any build.
    """
    lock, data, repo, script = recipe.lock, recipe.lock_bytes, recipe.repo, recipe.script
    if form == "environment" or repo is None:
        images = builder.environment(lock, data, platforms)
    elif form == "executed" and script is not None:
        images = tuple(
            builder.executed_environment(lock, data, platform, repo, script) for platform in platforms
        )
    else:
        images = builder.complete_images(lock, data, platforms, repo, script)
    return Rebuilt(images, builder.store)


@contextmanager
def cache_without_layers(store: Store, lock: Lock, reporter: Reporter) -> Iterator[Path]:
    """The root of a cache that has what ``store`` has downloaded for ``lock``, and nothing made of it.

    Each download is hashed first; a damaged one is left out and so fetched again. The cache is gone after the
    block.
    """
    artifacts, blobs = lock_artifacts(lock), _base_blobs(lock)
    with store.temporary_directory() as root:
        fresh = Store(root)
        fresh.artifacts.mkdir()
        fresh.blobs.mkdir(parents=True)
        # What other machines said, and tools: nothing of an image is in there.
        shared = (store.checkouts, store.conda, store.debian, store.pip, store.sources, store.tools, store.uv)
        for directory in shared:
            if directory.is_dir():
                (root / directory.name).symlink_to(directory.resolve())
        with reporter.stage("check") as stage:
            for artifact in artifacts:
                path = store.artifact_path(artifact.sha256)
                if not path.is_file():
                    continue
                stage.add_total(artifact.size)
                if _sha256(path) == artifact.sha256:
                    _link(path, fresh.artifact_path(artifact.sha256))
                stage.advance(artifact.size)
            for digest in blobs:
                if store.blob_path(digest).is_file():
                    size = store.blob_path(digest).stat().st_size
                    stage.add_total(size)
                    if "sha256:" + _sha256(store.blob_path(digest)) == digest:
                        _link(store.blob_path(digest), fresh.blob_path(digest))
                    stage.advance(size)
        yield root


def _base_blobs(lock: Lock) -> tuple[str, ...]:
    """The digests of what a registry's image consists of that is the base: nothing of it is made here."""
    found: list[str] = []
    for image in lock.base.image.platforms.values() if lock.base.image else ():
        found += [image.digest, image.config, *(layer.digest for layer in image.layers)]
    return tuple(dict.fromkeys(found))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def lock_artifacts(lock: Lock) -> tuple[Artifact, ...]:
    """Every artifact that ``lock`` names, each once."""
    found: list[Artifact] = []
    for debs in lock.base.debs.values():
        found += (deb.artifact for deb in debs)
    for server in lock.base.server.values():
        found += (wheel.artifact for wheel in server)
    for target in lock.targets:
        packages: tuple[Wheel | CondaPackage | Deb, ...] = (*target.wheels, *target.conda, *target.apt)
        found += (package.artifact for package in packages)
        for built in target.built:
            found += (wheel.artifact for wheel in built.requires)
            found += [built.archive] if built.archive is not None else []
    return tuple({artifact.sha256: artifact for artifact in found}.values())
