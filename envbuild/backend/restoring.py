"""Wheels that a lock names and this machine does not have: built again from their pins, to the same bytes."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from envbuild.backend.download import download
from envbuild.backend.trees import copy_tree, unpack_source
from envbuild.backend.workshop import Source, Workshop
from envbuild.errors import RepoError
from envbuild.lock.model import Artifact, Built, Lock, Wheel
from envbuild.source import Repo
from envbuild.source.git import GitClient
from envbuild.source.git_address import git_address
from envbuild.store import Store

__all__ = ["Restorer"]

_LARGEST_ARCHIVE = 4 << 30
_NAMED = 5


@dataclass(frozen=True)
class Restorer:
    """Restores wheels of ``lock``.

    Parameters:
        workshop: makes the workshop for a platform.
        fetch: gets artifacts into the store.
    """

    lock: Lock
    store: Store
    repo: Repo
    git: GitClient
    workshop: Callable[[str], Workshop]
    fetch: Callable[[Sequence[Artifact]], Sequence[Path]]
    offline: bool = False

    def __call__(self, artifacts: Sequence[Artifact]) -> None:
        """Have ``artifacts`` (whose source is ``"built"``) in the store.

        Raises:
            RepoError: what comes of a build is not the locked wheel, or it fails.
            RemoteError, MachineError: it cannot be fetched, or there is no sandbox.
        """
        wanted = {artifact.sha256 for artifact in artifacts}
        for target in self.lock.targets:
            built = {one.name: one for one in target.built}
            for wheel in target.wheels:
                if wheel.artifact.sha256 in wanted:
                    self._restore(wheel, built[wheel.name], target.platform)
                    wanted.discard(wheel.artifact.sha256)

    def _restore(self, wheel: Wheel, built: Built, platform: str) -> None:
        if built.archive is not None and built.archive.sha256 == wheel.artifact.sha256:
            self._archive(built)  # a wheel that is taken as it is
            return
        source = self._source(wheel, built)
        workshop = self.workshop(platform)
        made = workshop.wheel(source, built.requires)
        if made.sha256 != wheel.artifact.sha256:
            raise self._differs(wheel, made, workshop, source, built)

    def _source(self, wheel: Wheel, built: Built) -> Source:
        what = f"{wheel.name} {wheel.version}"
        if built.archive is not None:
            archive = built.archive

            def unpack(directory: Path) -> Path:
                return unpack_source(self._archive(built), archive.filename, directory)

            return Source(what, archive.sha256, unpack, built.subdirectory)
        checkout = self.git.check_out(git_address(built.location), built.commit)

        def copy(directory: Path) -> Path:
            copy_tree(checkout.path, directory)
            return directory

        return Source(what, built.commit, copy, built.subdirectory, version=wheel.version)

    def _archive(self, built: Built) -> Path:
        """The locked archive, in the store."""
        archive = built.archive
        assert archive is not None
        path = self.store.artifact_path(archive.sha256)
        if self.store.has_artifact(archive.sha256):
            return path
        if built.kind == "sdist":
            return self.fetch([archive])[0]
        if built.kind == "url":
            found, _ = download(built.location, store=self.store, offline=self.offline)
        else:
            data = self.repo.read(built.location, _LARGEST_ARCHIVE)
            found = hashlib.sha256(data).hexdigest()
            with self.store.temporary_file() as copy:
                copy.write_bytes(data)
                copy.replace(self.store.artifact_path(found))
        if found != archive.sha256:
            raise RepoError(
                f"{built.location} is no longer the file that was locked: its sha256 is {found}",
                code="hash-mismatch",
                file="envbuild.lock",
                remedy=f"find out why; to take the new one, `envbuild lock --upgrade-package {built.name}`",
            )
        return path

    def _differs(
        self, wheel: Wheel, made: Artifact, workshop: Workshop, source: Source, built: Built
    ) -> RepoError:
        """Say what is not reproducible: built once more here, which files are not the same?"""
        before = _contents(self.store.artifact_path(made.sha256))
        self.store.artifact_path(made.sha256).unlink()
        again = _contents(self.store.artifact_path(workshop.wheel(source, built.requires).sha256))
        differing = sorted(
            name for name in before.keys() | again.keys() if before.get(name) != again.get(name)
        )
        if differing:
            more = f" and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
            reason = f"every build gives other files: {', '.join(differing[:_NAMED])}{more}"
        else:
            reason = "it was built on a machine where the same sources give something else"
        return RepoError(
            f"{wheel.name} {wheel.version} is not reproducible: building it gave the sha256 {made.sha256},"
            f" the lock has {wheel.artifact.sha256}; {reason}",
            code="not-reproducible",
            file="envbuild.lock",
            remedy=f"run `envbuild lock --upgrade-package {wheel.name}` and build where it was locked,"
            " or use a version with a wheel in an index",
        )


def _contents(path: Path) -> dict[str, str]:
    """Members and their digests."""
    with zipfile.ZipFile(path) as archive:
        return {
            name: hashlib.sha256(archive.read(name)).hexdigest()
            for name in archive.namelist()
            if not name.endswith(".dist-info/RECORD")
        }
