"""uv with packages that have to be built: solved step by step, and built by somebody else.

uv itself runs nothing. A package without a wheel is allowed as a source distribution only together with a
statement of what it depends on (uv's ``dependency-metadata``), and then uv does not look into it: at first
the statement is "nothing", so that a version gets chosen; that version is built in the sandbox, and the next
round has its true dependencies. This ends when every source distribution of a solution was built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from packaging.markers import Marker
from packaging.pylock import Package

from envbuild.errors import RepoError
from envbuild.lock.addresses import with_credentials
from envbuild.lock.from_source import BuiltWheel, WheelBuilder
from envbuild.lock.reasons import explain
from envbuild.lock.resolver import chosen_pins, parse_requirement
from envbuild.lock.select import Pin, best_wheel, marker_environment, target_tags
from envbuild.lock.uv import uv_platform
from envbuild.lock.uv_process import Known, Uv, UvFailure
from envbuild.spec.model import Requirement, SourceRequirement
from envbuild.spec.pep508 import canonical_name

__all__ = ["SourceResolver", "names_without_wheels"]

_MOST_ROUNDS = 60
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_NO_WHEEL = re.compile(rf"({_NAME})(?:[=<>!~]=?\S+)? ha(?:s|ve) no (?:usable wheels|wheels with)")
_NO_SOURCE = "A source distribution is required for"
_WHEELS_REQUIRED = re.compile(rf"Wheels are required for `({_NAME})`")


@dataclass
class SourceResolver:
    """A :class:`~envbuild.lock.resolver.Resolver` that has wheels built where there are none.

    Parameters:
        sources: what is asked for besides packages of the index; projects of the repository are no part.
    """

    uv: Uv
    builder: WheelBuilder
    sources: Sequence[SourceRequirement] = ()
    name: ClassVar[str] = "uv"
    _from_index: dict[tuple[str, str, str], BuiltWheel] = field(default_factory=dict)
    _from_sources: dict[tuple[SourceRequirement, str], BuiltWheel] = field(default_factory=dict)
    _without_wheels: set[str] = field(default_factory=set)

    def resolve(
        self,
        requirements: Sequence[Requirement],
        constraints: Sequence[Requirement] = (),
        *,
        python: str,
        glibc: str,
        platform: str,
        exclude_newer: str | None = None,
        preferences: Mapping[str, str] | None = None,
    ) -> tuple[Pin, ...]:
        """See :meth:`envbuild.lock.resolver.Resolver.resolve`; pins that were built have a size."""
        asked = [*requirements, *constraints]
        for requirement in asked:
            parse_requirement(requirement)
        direct = list(self._direct(python, platform))
        self._without_wheels |= {one.name for one in self.sources if one.kind == "sdist" and one.name}
        texts = [*requirements, *(requirement for requirement, _ in direct)]
        target = f"{platform}, Python {python}"
        first: UvFailure | None = None
        for _ in range(_MOST_ROUNDS):
            try:
                solution = self.uv.compile(
                    [requirement.text for requirement in texts],
                    constraints=[requirement.text for requirement in constraints],
                    preferences=preferences or {},
                    python=python,
                    uv_platform=uv_platform(platform, glibc),
                    options=("--exclude-newer", exclude_newer) if exclude_newer else (),
                    known=list(self._known(platform)),
                    wheels={
                        wheel.artifact.filename: self.uv.store.artifact_path(wheel.artifact.sha256)
                        for _, wheel in direct
                    },
                )
            except UvFailure as failure:
                missing = names_without_wheels(failure.reason)
                if missing - self._without_wheels:
                    self._without_wheels |= missing
                    first = first or failure
                    continue
                # A package that has neither is best explained by what was said first.
                failure = first if first is not None and _NO_SOURCE in failure.reason else failure
                raise explain(failure.reason, texts, constraints, target) from failure
            by_name = {wheel.metadata.name: wheel for _, wheel in direct}
            sources = self._sdists(solution.packages, set(by_name), python, glibc, platform)
            unbuilt = {pin for pin in sources if (platform, pin.name, pin.version) not in self._from_index}
            for pin in sorted(unbuilt, key=lambda pin: pin.name):
                _check_hashes(pin, asked)
                self._from_index[platform, pin.name, pin.version] = self.builder.from_index(pin, platform)
            if unbuilt:
                continue
            for pin in sources:
                by_name[pin.name] = self._from_index[platform, pin.name, pin.version]
            pins = chosen_pins(
                [package for package in solution.packages if package.name not in by_name],
                asked,
                python=python,
                glibc=glibc,
                platform=platform,
                environment=self.uv.environment,
            )
            built = {package.name for package in solution.packages} & by_name.keys()
            pins += tuple(_pin(by_name[name]) for name in built)
            return tuple(sorted(pins, key=lambda pin: pin.name))
        raise RepoError(
            f"no solution was found after building {len(self._from_index)} packages from source",
            code="unsolvable",
            remedy="pin the versions of packages that have no wheels",
        )

    def _direct(self, python: str, platform: str) -> Iterator[tuple[Requirement, BuiltWheel]]:
        """The sources that count for the target, as requirements on their wheels."""
        environment = {**marker_environment(python, platform), "extra": ""}
        for source in self.sources:
            if source.kind == "sdist" or (
                source.marker is not None and not Marker(source.marker).evaluate(environment)
            ):
                continue
            wheel = self._from_sources.get((source, platform))
            if wheel is None:
                wheel = self._from_sources[source, platform] = self.builder.from_source(source, platform)
            extras = f"[{','.join(source.extras)}]" if source.extras else ""
            text = f"{wheel.metadata.name}{extras} @ ./{wheel.artifact.filename}"
            yield Requirement(text, source.file, source.line), wheel

    def _known(self, platform: str) -> Iterator[Known]:
        """What is stated about packages without wheels; of versions never built, that they need nothing."""
        for name in sorted(self._without_wheels):
            yield Known(name)
        for (built_for, name, version), wheel in sorted(self._from_index.items()):
            if built_for == platform:
                metadata = wheel.metadata
                yield Known(name, version, metadata.requires, metadata.requires_python, metadata.extras)

    def _sdists(
        self, packages: Sequence[Package], direct: set[str], python: str, glibc: str, platform: str
    ) -> tuple[Pin, ...]:
        """The source distributions in a solution."""
        pins = []
        tags = target_tags(python, platform, glibc)
        for package in packages:
            sdist = package.sdist
            if package.name in direct or package.name not in self._without_wheels or sdist is None:
                continue
            if best_wheel([one for one in package.wheels or () if "sha256" in one.hashes], tags):
                continue
            if sdist.url is None or "sha256" not in sdist.hashes or package.version is None:
                raise RepoError(
                    f"{package.name}: the index has no sha256 of its source distribution", code="no-hash"
                )
            filename = sdist.filename
            url = with_credentials(sdist.url, self.uv.environment)
            pins.append(
                Pin(package.name, str(package.version), filename, sdist.hashes["sha256"], url, sdist.size)
            )
        return tuple(pins)


def names_without_wheels(reason: str) -> set[str]:
    """The packages of which uv says that there is no wheel for the target."""
    text = re.sub(r"[\s×╰├─▶│┬·]+", " ", reason)
    return {canonical_name(name) for name in _NO_WHEEL.findall(text) + _WHEELS_REQUIRED.findall(text)}


def _check_hashes(pin: Pin, asked: Sequence[Requirement]) -> None:
    """Refuse a source distribution that none of the hashes given is of."""
    for requirement in asked:
        if canonical_name(parse_requirement(requirement).name) != pin.name or not requirement.hashes:
            continue
        if f"sha256:{pin.sha256}" not in requirement.hashes:
            raise RepoError(
                f"{pin.filename} in the index has none of the hashes given",
                code="hash-mismatch",
                file=requirement.file,
                line=requirement.line,
                remedy="correct the hashes, or find out who changed the files",
            )


def _pin(wheel: BuiltWheel) -> Pin:
    return Pin(
        name=wheel.metadata.name,
        version=wheel.metadata.version,
        filename=wheel.artifact.filename,
        sha256=wheel.artifact.sha256,
        url="",
        size=wheel.artifact.size,
        built=wheel.built,
    )
