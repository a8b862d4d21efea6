"""The builders that are compared, each behind the same few questions."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Contestant", "Dockerfile", "Envbuild"]

_REPOSITORY = "bench"


class Contestant(ABC):
    """A way to get from a repository to an image.

    Attributes:
        name: for the table's head.
        environment: variables its commands run with.
        daemons: process ids that work for its commands.
    """

    name: str
    environment: Mapping[str, str]
    daemons: Sequence[int] = ()

    @abstractmethod
    def build(self, repository: Path) -> list[str]:
        """The command that builds ``repository``'s image."""

    @abstractmethod
    def push(self, registry: str) -> list[str]:
        """The command that sends the image built last to ``HOST:PORT``."""

    @abstractmethod
    def offer_base(self, registry: str) -> None:
        """Put the base image into the registry, as it would be after the first image ever."""

    @abstractmethod
    def forget_everything(self) -> None:
        """Drop all caches; only the base image stays at hand."""

    @abstractmethod
    def forget_layers(self) -> None:
        """Drop what was built; downloaded packages stay."""

    def reference(self, registry: str) -> str:
        """The image's name in the registry."""
        return f"{registry}/{_REPOSITORY}:{self.name.replace(' + ', '-').replace(' ', '-').lower()}"


class Dockerfile(Contestant):
    """``docker build`` of a hand-written Dockerfile, with BuildKit.

    Parameters:
        installer: ``uv``, ``pip`` or ``rattler``; names the Dockerfile next to this module.
        environment: with ``DOCKER_HOST`` and the path of the command line program.
        daemon: process id of dockerd.
        contexts: directories that the Dockerfile takes programs from, by the names it has for them.
    """

    def __init__(
        self, installer: str, environment: Mapping[str, str], *, daemon: int, contexts: Mapping[str, Path]
    ) -> None:
        self.name = f"{installer} + BuildKit"
        self.environment = environment
        self.daemons = (daemon,)
        self._file = Path(__file__).with_name(f"Dockerfile.{installer}")
        self._image = f"{_REPOSITORY}:{installer}"
        self._contexts = contexts
        self._fresh = False

    def build(self, repository: Path) -> list[str]:
        """See :class:`Contestant`."""
        command = ["docker", "build", "--quiet", "--network", "host", "--tag", self._image]
        command += ["--file", str(self._file)]
        for name, directory in sorted(self._contexts.items()):
            command += ["--build-context", f"{name}={directory}"]
        if certificates := os.environ.get("SSL_CERT_FILE"):
            command += ["--secret", f"id=certificates,src={certificates}"]
        if self._fresh:
            command.append("--no-cache")  # steps run again, cache mounts keep what they have
        self._fresh = False
        return [*command, str(repository)]

    def push(self, registry: str) -> list[str]:
        """See :class:`Contestant`."""
        self._docker("tag", self._image, self.reference(registry))
        return ["docker", "push", "--quiet", self.reference(registry)]

    def offer_base(self, registry: str) -> None:
        """See :class:`Contestant`."""
        name = f"{registry}/{_REPOSITORY}:base"
        self._docker("tag", "bench-base", name)
        self._docker("push", "--quiet", name)

    def forget_everything(self) -> None:
        """See :class:`Contestant`."""
        self._docker("builder", "prune", "--all", "--force")
        self._fresh = False

    def forget_layers(self) -> None:
        """See :class:`Contestant`."""
        self._fresh = True

    def _docker(self, *arguments: str) -> None:
        subprocess.run(["docker", *arguments], env=self.environment, check=True, stdout=subprocess.DEVNULL)


class Envbuild(Contestant):
    """``envbuild build --locked``, then ``envbuild push`` from the cache.

    Parameters:
        program: path of ``envbuild``.
        directory: where its caches are kept.
        base: a cache in which nothing but the base image has been built.
        compression: ``zstd`` or ``gzip``.
    """

    def __init__(self, program: Path, directory: Path, base: Path, *, compression: str = "zstd") -> None:
        self.name = "envbuild" if compression == "zstd" else f"envbuild {compression}"
        self._program = program
        self._compression = compression
        self._cache = directory / "cache"
        self._base = base
        self.environment = {**os.environ, "ENVBUILD_CACHE_DIR": str(self._cache)}

    def build(self, repository: Path) -> list[str]:
        """See :class:`Contestant`."""
        command = [str(self._program), "build", str(repository), "--locked", "--quiet"]
        return [*command, "--tag", _REPOSITORY, "--compression", self._compression]

    def push(self, registry: str) -> list[str]:
        """See :class:`Contestant`."""
        return [str(self._program), "push", "--quiet", f"{_REPOSITORY}:latest", self.reference(registry)]

    def offer_base(self, registry: str) -> None:
        """See :class:`Contestant`."""
        for blob in (self._base / "store-v1" / "blobs" / "sha256").iterdir():
            _upload(registry, blob)

    def forget_everything(self) -> None:
        """See :class:`Contestant`."""
        shutil.rmtree(self._cache, ignore_errors=True)
        shutil.copytree(self._base, self._cache, symlinks=True)

    def forget_layers(self) -> None:
        """See :class:`Contestant`."""
        kept = self._cache.with_name("kept")
        (self._cache / "artifacts-v1").rename(kept)
        self.forget_everything()
        shutil.rmtree(self._cache / "artifacts-v1", ignore_errors=True)
        kept.rename(self._cache / "artifacts-v1")


def _upload(registry: str, blob: Path) -> None:
    """Put one blob into the registry (OCI distribution specification: POST, then PUT)."""
    start = urllib.request.Request(f"http://{registry}/v2/{_REPOSITORY}/blobs/uploads/", method="POST")
    with urllib.request.urlopen(start) as answer:
        location = answer.headers["Location"]
    separator = "&" if "?" in location else "?"
    with blob.open("rb") as content:
        finish = urllib.request.Request(
            f"{location}{separator}digest=sha256:{blob.name}", data=content, method="PUT"
        )
        finish.add_header("Content-Length", str(blob.stat().st_size))
        finish.add_header("Content-Type", "application/octet-stream")
        urllib.request.urlopen(finish).close()
