"""The questions a lock puts to the package index: the server's packages and the user's, per platform."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from packaging.utils import canonicalize_name

from envbuild.base.recipe import BaseRecipe
from envbuild.errors import RepoError
from envbuild.lock.adopt.index import Taken
from envbuild.lock.conda.part import CondaPart
from envbuild.lock.model import Base, Lock, Wheel
from envbuild.lock.projects import Projects
from envbuild.lock.resolver import Resolver, parse_requirement
from envbuild.lock.select import Pin, marker_environment
from envbuild.lock.sizes import measure
from envbuild.spec.model import Requirement, Spec
from envbuild.store import Store

__all__ = ["Section", "Solver", "Upgrade", "previous_wheels"]

# What every environment has, asked for or not: a kernel to run notebooks with, and pip for `%pip`.
_ALWAYS = ("ipykernel", "pip")

Section = dict[str, tuple[Pin, ...]]
"""Pins by platform."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Which earlier answers are forgotten, and which versions are preferred to them, by canonical name."""

    all: bool
    packages: frozenset[str]
    preferred: Mapping[str, str] = field(default_factory=dict)

    def covers(self, name: str) -> bool:
        """Whether the earlier version of ``name`` is forgotten."""
        return self.all or canonicalize_name(name) in self.packages

    def preferences(self, wheels: Iterable[Wheel]) -> dict[str, str]:
        """Versions by name to keep."""
        if self.all:
            return dict(self.preferred)
        kept = {wheel.name: wheel.version for wheel in wheels if wheel.name not in self.packages}
        return kept | dict(self.preferred)


@dataclass(frozen=True, slots=True)
class Solver:
    """What all the questions have in common.

    ``adopt`` gives what is in the repository's own lock, if it has one (for ``python=``, ``glibc=`` and
    ``platform=``). ``python`` is exact. ``kept`` is the part of ``previous`` that stays as it is. ``forget``
    and ``forget_server`` say which of the previous versions are no longer preferred. ``resolver`` is for the
    user's environment and may have wheels built, ``server_resolver`` takes what there is. ``projects`` are
    those of the repository. ``conda`` are the conda packages of the environment; then ``resolver`` is for
    what joins them.
    """

    spec: Spec
    store: Store
    resolver: Resolver
    server_resolver: Resolver
    projects: Projects
    adopt: Callable[..., Taken]
    recipe: BaseRecipe
    python: str
    platforms: tuple[str, ...]
    previous: Lock | None
    kept: Base | None
    forget: Upgrade
    forget_server: Upgrade
    exclude_newer: str | None
    conda: CondaPart | None = None

    @property
    def _always(self) -> tuple[str, ...]:
        return (*_ALWAYS, *self.spec.kernel_packages)

    def answers(self) -> tuple[Section, Section]:
        """The pins of the user's environment and of the server, with sizes."""
        with ThreadPoolExecutor(1) as pool:
            server_future = pool.submit(self.server)
            user = self.user()
            server = server_future.result()
        known = {wheel.artifact.sha256: wheel.artifact.size for wheel in _all_wheels(self.previous)}
        pins = [pin for section in (user, server) for found in section.values() for pin in found]
        sized = {pin.sha256: pin for pin in measure(pins, store=self.store, known=known)}
        return (
            {platform: tuple(sized[pin.sha256] for pin in found) for platform, found in user.items()},
            {platform: tuple(sized[pin.sha256] for pin in found) for platform, found in server.items()},
        )

    def server(self) -> Section:
        """The server's pins for the platforms for which they are not kept."""
        requirements = [Requirement(text, f"base {self.recipe.name}") for text in self.recipe.server]
        earlier = self.previous.base.server if self.previous else {}
        versions = self.forget_server.preferences(wheel for wheels in earlier.values() for wheel in wheels)
        section: Section = {}
        for platform in self.platforms:
            if self.kept and platform in self.kept.server:
                continue
            section[platform] = self._resolve(
                requirements, (), platform, versions, resolver=self.server_resolver
            )
            versions = {pin.name: pin.version for pin in section[platform]}
        return section

    def user(self) -> Section:
        """The pins of the user's environment, by platform."""
        section: Section = {}
        for platform in self.platforms:
            versions = self.forget.preferences(previous_wheels(self.previous, platform))
            # What one platform got is the first choice for the next one.
            versions |= {pin.name: pin.version for found in section.values() for pin in found}
            if self.conda is not None and self.conda.python(platform) is None:
                section[platform] = self._without_python(platform)
            elif self.spec.adopted is None:
                section[platform] = self._solved(platform, versions)
            else:
                section[platform] = self._adopted(platform, versions)
        return section

    def _without_python(self, platform: str) -> tuple[Pin, ...]:
        """Nothing: where conda brings no Python there is nothing to install wheels into."""
        for requirement in self.spec.requirements:
            raise RepoError(
                f"{requirement.text}: the environment has no Python to install it into, on {platform}",
                code="no-python",
                file=requirement.file,
                line=requirement.line,
                remedy="add python to the conda packages",
            )
        return ()

    def _python(self, platform: str) -> str:
        """The Python of the user's environment: conda's, if it brings one."""
        return (self.conda.python(platform) if self.conda else None) or self.python

    def _there(self, platform: str) -> set[str]:
        """The Python packages that conda brings."""
        return set(self.conda.provided(platform)) if self.conda else set()

    def _solved(self, platform: str, versions: Mapping[str, str]) -> tuple[Pin, ...]:
        asked = [*self.spec.requirements, *self.projects.requirements(platform)]
        named = self._named(platform)
        asked += [Requirement(name, "") for name in self._always if name not in named]
        pins = self._resolve(asked, self.spec.constraints, platform, versions)
        complete = self._with_server(pins, platform, versions)
        if complete is not None:
            return complete
        versions = {pin.name: pin.version for pin in pins}
        asked.append(Requirement("jupyterlab", ""))
        return self._resolve(asked, self.spec.constraints, platform, versions)

    def _named(self, platform: str) -> set[str]:
        """The packages that the repository's requirements name for ``platform``."""
        environment = marker_environment(self._python(platform), platform)
        parsed = map(parse_requirement, self.spec.requirements)
        return {
            canonicalize_name(one.name)
            for one in parsed
            if one.marker is None or one.marker.evaluate({**environment, "extra": ""})
        }

    def _adopted(self, platform: str, versions: Mapping[str, str]) -> tuple[Pin, ...]:
        taken = self.adopt(python=self._python(platform), glibc=self.recipe.glibc, platform=platform)
        pins = self._built(taken, platform, versions)
        names = {pin.name for pin in pins} | self._there(platform)
        pins = self._completed(pins, [name for name in self._always if name not in names], platform, versions)
        complete = self._with_server(pins, platform, versions)
        return self._completed(pins, ["jupyterlab"], platform, versions) if complete is None else complete

    def _built(self, taken: Taken, platform: str, versions: Mapping[str, str]) -> tuple[Pin, ...]:
        """The pins of an adopted lock, with what had to be built from source."""
        pins = self._added(taken.pins, taken.unbuilt, platform, versions)
        known = {pin.name for pin in taken.pins} | {source.name for source in self.spec.sources}
        known |= {requirement.text.partition("==")[0] for requirement in taken.unbuilt}
        if strangers := sorted({pin.name for pin in pins} - known):
            raise RepoError(
                f"{', '.join(strangers)} is needed by what is built from source, and is not in this lock",
                code="not-in-lock",
                file=self.spec.adopted.path if self.spec.adopted else None,
                remedy="lock again with the tool that made it",
            )
        return pins

    def _completed(
        self, pins: tuple[Pin, ...], missing: Sequence[str], platform: str, versions: Mapping[str, str]
    ) -> tuple[Pin, ...]:
        """What a lock of the repository's pins, and ``missing``, which it has to get along with."""
        try:
            return self._added(pins, [Requirement(text, "") for text in missing], platform, versions)
        except RepoError as error:
            path = self.spec.adopted.path if self.spec.adopted else None
            raise RepoError(
                f"{', '.join(missing)} cannot be added to what this lock pins: {error.message}",
                code="cannot-complete-lock",
                file=path,
                remedy=f"add {' and '.join(missing)} to the project and lock it again",
                detail=error.detail,
            ) from error

    def _added(
        self,
        pins: tuple[Pin, ...],
        missing: Sequence[Requirement],
        platform: str,
        versions: Mapping[str, str],
    ) -> tuple[Pin, ...]:
        """``pins``, untouched, and what ``missing`` needs beside them."""
        if not missing and not any(not source.is_project for source in self.spec.sources):
            return pins
        names = {pin.name for pin in pins}
        fixed = [Requirement(f"{pin.name}=={pin.version}", "") for pin in pins]
        added = self._resolve(missing, fixed, platform, versions)
        pins += tuple(pin for pin in added if pin.name not in names)
        return tuple(sorted(pins, key=lambda pin: pin.name))

    def _with_server(
        self, pins: tuple[Pin, ...], platform: str, versions: Mapping[str, str]
    ) -> tuple[Pin, ...] | None:
        """``pins`` completed to a whole server when there is a part of one among them.

        A server in the user's environment is the one that runs, for its extensions are there. When the whole
        of it fits, the image needs no second one beside it (plan.py); when it does not fit, the base's stays.

        Returns:
            None when there is a server but no user interface for it, and the whole does not fit.
        """
        names = {pin.name for pin in pins} | self._there(platform)
        if "jupyter-server" not in names:
            return pins
        missing = [
            Requirement(text, "")
            for text in self.recipe.server
            if canonicalize_name(parse_requirement(Requirement(text, "")).name) not in names
        ]
        try:
            return self._added(pins, missing, platform, versions)
        except RepoError:
            return pins if "jupyterlab" in names else None

    def _resolve(
        self,
        requirements: Sequence[Requirement],
        constraints: Sequence[Requirement],
        platform: str,
        versions: Mapping[str, str],
        *,
        resolver: Resolver | None = None,
    ) -> tuple[Pin, ...]:
        return (resolver or self.resolver).resolve(
            requirements,
            constraints,
            python=self.python,
            glibc=self.recipe.glibc,
            platform=platform,
            exclude_newer=self.exclude_newer,
            preferences=versions,
        )


def _all_wheels(lock: Lock | None) -> list[Wheel]:
    if lock is None:
        return []
    groups = [*lock.base.server.values(), *(target.wheels for target in lock.targets)]
    return [wheel for group in groups for wheel in group]


def previous_wheels(previous: Lock | None, platform: str) -> tuple[Wheel, ...]:
    """The user's wheels of ``previous`` for ``platform``, none when it has none."""
    for target in previous.targets if previous else ():
        if target.platform == platform:
            return target.wheels
    return ()
