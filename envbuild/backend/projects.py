"""The repository's own projects, built for an image. The repository is at its place there when they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from envbuild.backend.trees import copy_project, project_digest
from envbuild.backend.workshop import Source, Workshop
from envbuild.errors import RepoError
from envbuild.lock.model import Built, Lock, Wheel
from envbuild.pack import recipe
from envbuild.progress import Reporter
from envbuild.source import Repo

__all__ = ["ProjectBuilder", "project_source"]

# For projects whose version is that of the last tag: a commit must not make the environment another one.
_NO_VERSION = "0.0.0"


@dataclass(frozen=True)
class ProjectBuilder:
    """Builds the projects that ``lock`` names.

    Parameters:
        workshop: makes the workshop for a platform.
    """

    lock: Lock
    repo: Repo
    workshop: Callable[[str], Workshop]
    reporter: Reporter

    def __call__(self, platform: str) -> tuple[Wheel, ...]:
        """The projects' wheels for ``platform``, in the store, sorted by name.

        Raises:
            RepoError: one cannot be built.
            MachineError: there is no sandbox here.
        """
        projects = [built for built in self.lock.target(platform).built if built.is_project]
        if not projects:
            return ()
        with self.reporter.stage("projects", unit="projects") as stage:
            stage.add_total(len(projects))
            wheels = []
            for built in projects:
                wheels.append(self._wheel(built, self.workshop(platform)))
                stage.advance(1)
        return tuple(sorted(wheels))

    def _wheel(self, built: Built, workshop: Workshop) -> Wheel:
        source = project_source(self.repo, built.location, built.name)
        kind = "editable" if built.editable else "wheel"
        missing = _missing(workshop.requires(source, built.requires, f"get_requires_for_build_{kind}"), built)
        if missing:
            raise RepoError(
                f"building {built.name} needs {missing}, which its pyproject.toml does not say",
                code="bad-build-requirements",
                file=f"{built.location}/pyproject.toml".removeprefix("./"),
                remedy=f"add {missing} to requires in [build-system]",
            )
        artifact = workshop.wheel(source, built.requires, f"build_{kind}")
        name, version, _, _ = parse_wheel_filename(artifact.filename)
        return Wheel(str(name), str(version), artifact, layer=str(name), direct=True)


def _missing(requires: Sequence[str], built: Built) -> str | None:
    """The first of ``requires`` that the lock has no pin for."""
    pinned = {wheel.name for wheel in built.requires}
    for text in requires:
        requirement = Requirement(text)
        applies = requirement.marker is None or requirement.marker.evaluate()
        if applies and canonicalize_name(requirement.name) not in pinned:
            return text
    return None


def project_source(repo: Repo, location: str, name: str | None) -> Source:
    """The project at ``location`` of the repository, as builds see it: where it will be in the image."""

    def unpack(directory: Path) -> Path:
        copy_project(repo, location, directory)
        return directory

    subdirectory = "" if location == "." else location
    what = name or (location if subdirectory else "the project")
    key = project_digest(repo, location)
    return Source(what, key, unpack, subdirectory, _NO_VERSION, f"/{recipe.REPO_DIR}")
