"""What turns requirements into pins: the :class:`Resolver` seam, and what every implementation needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from packaging.pylock import Package
from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Parsed
from packaging.tags import Tag
from packaging.utils import canonicalize_name

from envbuild.errors import RepoError
from envbuild.lock.addresses import with_credentials
from envbuild.lock.select import Pin, best_wheel, target_tags
from envbuild.source import redact
from envbuild.spec.model import Requirement

__all__ = ["Resolver", "choose", "chosen_pins", "parse_requirement"]


class Resolver(Protocol):
    """A program that solves requirements for one target with wheels only, without running any of them."""

    @property
    def name(self) -> str:
        """What configuration and locks call it."""

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
        """Solve for one target.

        Parameters:
            python: exact version (``3.11.2``).
            glibc: newest manylinux policy (``2.36``).
            platform: ``linux/amd64`` or ``linux/arm64``.
            exclude_newer: ignore files published after this date (RFC 3339).
            preferences: versions by name to keep where they still fit (a previous lock's).

        Returns:
            pins sorted by name; their sizes are None when the index does not tell.

        Raises:
            RepoError: no solution, with the file and line of a requirement to blame and the reason.
            RemoteError: the index cannot be reached.
        """


def parse_requirement(requirement: Requirement) -> Parsed:
    """Read a requirement (PEP 508).

    Raises:
        RepoError: it is not one plain requirement; a resolver would read it as an option, a path or a URL.
    """
    try:
        parsed = Parsed(requirement.text)
    except InvalidRequirement as error:
        raise RepoError(
            f"{redact(requirement.text)!r} is not a valid requirement",
            code="bad-requirement",
            file=requirement.file or None,
            line=requirement.line,
            remedy="write it as `name`, `name>=1.2` or `name[extra]==1.2` (PEP 508)",
        ) from error
    if parsed.url is not None:
        raise RepoError(
            f"{parsed.name}: packages from a URL ({redact(parsed.url)}) are not supported yet",
            code="url-requirement",
            file=requirement.file or None,
            line=requirement.line,
            remedy="use a released version of the package",
        )
    if re.search(r"[\r\n]", requirement.text):
        raise RepoError(
            f"the requirement for {parsed.name} has a line break in it",
            code="bad-requirement",
            file=requirement.file or None,
            line=requirement.line,
        )
    return parsed


def chosen_pins(
    packages: Iterable[Package],
    asked: Sequence[Requirement],
    *,
    python: str,
    glibc: str,
    platform: str,
    environment: Mapping[str, str],
) -> tuple[Pin, ...]:
    """The pins of a solution, sorted by name: of each package the wheel that fits best.

    Parameters:
        packages: the versions chosen, each with the wheels that the index has of it.
        asked: requirements and constraints; hashes given with them are checked.
        environment: the user's variables, for the index's credentials.

    Raises:
        RepoError: a package has no wheel for the target, or none with an acceptable hash.
    """
    tags = target_tags(python, platform, glibc)
    hashed: dict[str, list[Requirement]] = {}
    for requirement in asked:
        if requirement.hashes:
            hashed.setdefault(canonicalize_name(Parsed(requirement.text).name), []).append(requirement)
    pins = [
        choose(package, tags, platform=platform, environment=environment, hashed=hashed.get(package.name, ()))
        for package in packages
    ]
    return tuple(sorted(pins, key=lambda pin: pin.name))


def choose(
    package: Package,
    tags: Sequence[Tag],
    *,
    platform: str,
    environment: Mapping[str, str],
    hashed: Sequence[Requirement] = (),
) -> Pin:
    """The wheel of ``package`` (as the index has it) to use.

    Parameters:
        hashed: the requirements that say which hashes are acceptable, if any.

    Raises:
        RepoError: no wheel fits the target, or none has an acceptable hash.
    """
    allowed = {value.removeprefix("sha256:") for requirement in hashed for value in requirement.hashes}
    file = hashed[0].file if hashed else None
    line = hashed[0].line if hashed else None
    offered = [wheel for wheel in package.wheels or () if "sha256" in wheel.hashes and wheel.url]
    acceptable = [wheel for wheel in offered if not hashed or wheel.hashes["sha256"] in allowed]
    if offered and not acceptable:
        raise RepoError(
            f"{package.name}=={package.version}: no wheel in the index for {platform} has a hash given",
            code="hash-mismatch",
            file=file,
            line=line,
            remedy="correct the hashes, or find out who changed the files",
        )
    wheel = best_wheel(acceptable, tags)
    if wheel is None or wheel.url is None or package.version is None:
        raise RepoError(
            f"{package.name}=={package.version} has no wheel with a sha256 in the index for {platform}",
            code="no-wheel",
            file=file,
            line=line,
            remedy="choose a version that is published as a wheel: building from source is not supported yet",
        )
    return Pin(
        name=package.name,
        version=str(package.version),
        filename=wheel.filename,
        sha256=wheel.hashes["sha256"],
        url=with_credentials(wheel.url, environment),
        size=wheel.size,
    )
