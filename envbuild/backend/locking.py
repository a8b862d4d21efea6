"""Building while locking: what is not decided yet is decided here, and written down as :class:`Built`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from envbuild.backend.download import download
from envbuild.backend.projects import project_source
from envbuild.backend.system import BuildSystem
from envbuild.backend.trees import copy_tree, unpack_source
from envbuild.backend.wheels import wheel_metadata
from envbuild.backend.workshop import Source, Workshop
from envbuild.errors import EnvbuildError, RepoError
from envbuild.fetch import Fetcher, Sources
from envbuild.lock.addresses import split_url
from envbuild.lock.from_source import BuiltWheel, Metadata
from envbuild.lock.model import Artifact, Base, Built, Lock, Target, Wheel
from envbuild.lock.resolver import Resolver
from envbuild.lock.select import Pin
from envbuild.lock.sizes import measure
from envbuild.source import Repo
from envbuild.source.git import GitClient
from envbuild.source.git_address import git_address
from envbuild.spec.model import Requirement, SourceRequirement
from envbuild.store import Store

__all__ = ["SourceBuilder"]

_LARGEST_ARCHIVE = 4 << 30


@dataclass
class SourceBuilder:
    """See :class:`envbuild.lock.from_source.WheelBuilder`.

    Parameters:
        system: the locked base, with what ``apt.txt`` adds; called when it is needed.
        workshop: makes the workshop for a system, a platform and a way to get artifacts.
        resolver: finds what builds need; ``exclude_newer`` as for locking.
        previous: what was locked before, to stay at its commits; of packages in ``forget`` they are not kept.
    """

    store: Store
    repo: Repo
    git: GitClient
    system: Callable[[], Lock]
    workshop: Callable[[Lock, str, Callable[[Sequence[Artifact]], Sequence[Path]]], Workshop]
    resolver: Resolver
    exclude_newer: str | None = None
    offline: bool = False
    previous: Sequence[Target] = ()
    forget: Callable[[str], bool] = lambda name: False
    _urls: dict[str, str] = field(default_factory=dict, repr=False)

    def from_index(self, sdist: Pin, platform: str) -> BuiltWheel:
        """See :meth:`envbuild.lock.from_source.WheelBuilder.from_index`."""
        (sized,) = measure([sdist], store=self.store, known={})
        path = split_url(sized.url)[1]
        archive = Artifact(sized.filename, sized.sha256, sized.size or 0, "pypi", path)
        self._urls[archive.sha256] = sized.url
        source = Source(f"{sdist.name} {sdist.version}", archive.sha256, self._unpacker(archive))
        return self._build(Built(sdist.name, "sdist", archive=archive), source, platform)

    def from_source(self, source: SourceRequirement, platform: str) -> BuiltWheel:
        """See :meth:`envbuild.lock.from_source.WheelBuilder.from_source`."""
        try:
            if source.kind == "vcs":
                result = self._from_repository(source, platform)
            else:
                result = self._from_archive(source, platform)
            self._check(source, result)
        except EnvbuildError as error:
            error.file, error.line = error.file or source.file, error.line or source.line
            raise
        return result

    def project(self, source: SourceRequirement, platform: str) -> tuple[Built, Metadata | None]:
        """See :meth:`envbuild.lock.from_source.WheelBuilder.project`."""
        try:
            return self._project(source, platform)
        except EnvbuildError as error:
            error.file, error.line = error.file or source.file, error.line or source.line
            raise

    # Kinds of sources

    def _from_repository(self, source: SourceRequirement, platform: str) -> BuiltWheel:
        kept = self._kept(source)
        checkout = self.git.check_out(git_address(source.location), kept.commit if kept else source.revision)
        what = source.name or checkout.url.rpartition("/")[2].removesuffix(".git")

        def unpack(directory: Path) -> Path:
            copy_tree(checkout.path, directory)
            return directory

        built = Built(
            source.name or "",
            "vcs",
            location=source.location,
            revision=source.revision or "",
            commit=checkout.commit,
            subdirectory=source.subdirectory,
        )
        # For back ends that ask git: there is no history in the sandbox, and the commit says all it could.
        version = f"0.0.0+g{checkout.commit[:12]}"
        tree = Source(what, checkout.commit, unpack, source.subdirectory, version=version)
        return self._build(built, tree, platform)

    def _kept(self, source: SourceRequirement) -> Built | None:
        """What an earlier lock made of the same source."""
        asked = (source.kind, source.location, source.revision or "", source.subdirectory)
        for target in self.previous:
            for built in target.built:
                if (built.kind, built.location, built.revision, built.subdirectory) == asked:
                    return None if self.forget(built.name) else built
        return None

    def _from_archive(self, source: SourceRequirement, platform: str) -> BuiltWheel:
        """From a file at a URL or in the repository: a wheel, or the sources of one."""
        filename = source.location.partition("?")[0].rpartition("/")[2]
        if source.kind == "url":
            sha256, size = download(source.location, store=self.store, offline=self.offline)
        else:
            sha256, size = self._take(source.location)
        if source.hashes and f"sha256:{sha256}" not in source.hashes:
            raise RepoError(
                f"{filename} has the sha256 {sha256}, which is not the one that is demanded",
                code="hash-mismatch",
                remedy="do not use it: ask who published it",
            )
        archive = Artifact(filename, sha256, size, source.kind)
        built = Built(
            source.name or "",
            source.kind,
            location=source.location,
            subdirectory=source.subdirectory,
            archive=archive,
        )
        if filename.lower().endswith(".whl"):
            metadata = wheel_metadata(self.store.artifact_path(sha256), filename)
            artifact = replace(archive, source="built")
            return BuiltWheel(artifact, metadata, replace(built, name=metadata.name))
        tree = Source(source.name or filename, sha256, self._unpacker(archive), source.subdirectory)
        return self._build(built, tree, platform)

    def _take(self, location: str) -> tuple[str, int]:
        """A file of the repository, copied into the store."""
        data = self.repo.read(location, _LARGEST_ARCHIVE)
        sha256 = hashlib.sha256(data).hexdigest()
        with self.store.temporary_file() as path:
            path.write_bytes(data)
            path.replace(self.store.artifact_path(sha256))
        return sha256, len(data)

    def _project(self, source: SourceRequirement, platform: str) -> tuple[Built, Metadata | None]:
        workshop = self.workshop(self.system(), platform, self._fetch)
        base = self.system().base
        tree = project_source(self.repo, source.location, source.name)
        system = workshop.system(tree)
        requires = system.requires_for_editable if source.editable else system.requires
        pins = self._pins(requires, base, platform, tree.what)
        metadata = None
        if source.dynamic:
            hook = "get_requires_for_build_editable" if source.editable else "get_requires_for_build_wheel"
            more = workshop.requires(tree, pins, hook)
            if more:
                pins = self._pins((*requires, *more), base, platform, tree.what)
            metadata = workshop.metadata(tree, pins)
        name = source.name or (metadata.name if metadata else "")
        built = Built(name, "path", location=source.location, editable=source.editable, requires=pins)
        return built, metadata

    # Building

    def _build(self, built: Built, source: Source, platform: str) -> BuiltWheel:
        workshop = self.workshop(self.system(), platform, self._fetch)
        base = self.system().base
        system: BuildSystem = workshop.system(source)
        pins = self._pins(system.requires, base, platform, source.what)
        more = workshop.requires(source, pins, "get_requires_for_build_wheel")
        if more:
            pins = self._pins((*system.requires, *more), base, platform, source.what)
        artifact = workshop.wheel(source, pins)
        metadata = wheel_metadata(self.store.artifact_path(artifact.sha256), artifact.filename)
        return BuiltWheel(artifact, metadata, replace(built, name=metadata.name, requires=pins))

    def _pins(self, requires: Sequence[str], base: Base, platform: str, what: str) -> tuple[Wheel, ...]:
        """What a build needs, exactly: wheels of the index."""
        if not requires:
            return ()
        try:
            found = self.resolver.resolve(
                [Requirement(text, "") for text in requires],
                python=base.python,
                glibc=base.glibc,
                platform=platform,
                exclude_newer=self.exclude_newer,
            )
        except RepoError as error:
            raise RepoError(
                f"{what} cannot be built from source: {error.message}",
                code="bad-build-requirements",
                remedy="use a version of it that is published as a wheel",
                detail=error.detail,
            ) from error
        wheels = []
        for pin in measure(found, store=self.store, known={}):
            self._urls[pin.sha256] = pin.url
            artifact = Artifact(pin.filename, pin.sha256, pin.size or 0, "pypi", split_url(pin.url)[1])
            wheels.append(Wheel(pin.name, pin.version, artifact))
        return tuple(sorted(wheels))

    def _fetch(self, artifacts: Sequence[Artifact]) -> Sequence[Path]:
        urls: Mapping[str, str] = self._urls
        with Fetcher(
            self.store,
            Sources({}),
            locate=lambda artifact: urls.get(artifact.sha256),
            offline=self.offline,
        ) as fetcher:
            futures = [fetcher.submit(artifact) for artifact in artifacts]
            return [future.result() for future in futures]

    def _unpacker(self, archive: Artifact) -> Callable[[Path], Path]:
        def unpack(directory: Path) -> Path:
            (path,) = self._fetch([archive])
            return unpack_source(path, archive.filename, directory)

        return unpack

    @staticmethod
    def _check(source: SourceRequirement, result: BuiltWheel) -> None:
        if source.name is not None and source.name != result.metadata.name:
            raise RepoError(
                f"this is {result.metadata.name}, not {source.name}",
                code="name-mismatch",
                remedy="correct the name in the requirement",
            )
