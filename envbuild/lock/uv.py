"""The default resolver: requirements in, pins with wheels out, by uv."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from packaging.pylock import Package, Pylock
from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Parsed
from packaging.tags import Tag
from packaging.utils import canonicalize_name

from envbuild.errors import RepoError
from envbuild.lock.addresses import with_credentials
from envbuild.lock.reasons import explain
from envbuild.lock.select import MACHINES, Pin, best_wheel, target_tags
from envbuild.lock.uv_process import Uv, UvFailure
from envbuild.source import redact
from envbuild.spec.model import Requirement

__all__ = ["choose", "look_up", "parse_requirement", "resolve", "uv_platform"]


def uv_platform(platform: str, glibc: str) -> str:
    """uv's name of a target.

    >>> uv_platform("linux/arm64", "2.36")
    'aarch64-manylinux_2_36'
    """
    return f"{MACHINES[platform]}-manylinux_{glibc.replace('.', '_')}"


def resolve(
    requirements: Sequence[Requirement],
    constraints: Sequence[Requirement] = (),
    *,
    uv: Uv,
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
        RepoError: no solution, with the file and line of a requirement to blame and uv's reason.
        RemoteError: the index cannot be reached.
    """
    for requirement in (*requirements, *constraints):
        parse_requirement(requirement)
    options = ("--exclude-newer", exclude_newer) if exclude_newer else ()
    try:
        solution = uv.compile(
            [requirement.text for requirement in requirements],
            constraints=[requirement.text for requirement in constraints],
            preferences=preferences or {},
            python=python,
            uv_platform=uv_platform(platform, glibc),
            options=options,
        )
    except UvFailure as failure:
        raise explain(failure.reason, requirements, constraints, f"{platform}, Python {python}") from failure
    return _pins(solution, [*requirements, *constraints], target_tags(python, platform, glibc), uv, platform)


def look_up(
    pins: Mapping[str, str], *, uv: Uv, python: str, glibc: str, platform: str, refresh: bool = False
) -> Pylock:
    """What the index has for exact versions: nothing is solved, dependencies are not looked at.

    Parameters:
        pins: versions by name.
        refresh: ask the index again instead of using uv's cached answers.

    Raises:
        UvFailure: a version is not in the index or has no wheel for the target.
    """
    options = ["--no-deps", *(("--refresh",) if refresh else ())]
    return uv.compile(
        [f"{name}=={version}" for name, version in sorted(pins.items())],
        preferences={},
        python=python,
        uv_platform=uv_platform(platform, glibc),
        options=options,
    )


def parse_requirement(requirement: Requirement) -> Parsed:
    """Read a requirement (PEP 508).

    Raises:
        RepoError: it is not one plain requirement; uv would read it as an option, a path or a URL.
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


def _pins(
    solution: Pylock, asked: Sequence[Requirement], tags: Sequence[Tag], uv: Uv, platform: str
) -> tuple[Pin, ...]:
    hashed: dict[str, list[Requirement]] = {}
    for requirement in asked:
        if requirement.hashes:
            hashed.setdefault(canonicalize_name(Parsed(requirement.text).name), []).append(requirement)
    pins = [
        choose(
            package, tags, platform=platform, environment=uv.environment, hashed=hashed.get(package.name, ())
        )
        for package in solution.packages
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
