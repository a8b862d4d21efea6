"""Locks that repositories already have, taken over as they are: nothing is solved again.

Only names, versions, file names and hashes are believed. Where the files are is asked of the user's own
index: a repository does not decide which servers are talked to.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import tomli
from packaging.markers import Environment
from packaging.pylock import Package, PackageWheel, Pylock, PylockSelectError, PylockValidationError
from packaging.utils import canonicalize_name

from envbuild.errors import RepoError
from envbuild.lock.addresses import with_credentials
from envbuild.lock.reasons import explain
from envbuild.lock.select import Pin, marker_environment, target_tags
from envbuild.lock.uv import choose, look_up, parse_requirement
from envbuild.lock.uv_process import Uv, UvFailure
from envbuild.source.repo import Repo
from envbuild.spec.model import Adopted, Requirement, Spec

__all__ = ["adopt"]

_MOST_BYTES = 64_000_000
_MOST_PROJECT_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class _Where:
    """The target, in the words of those who are asked about it."""

    uv: Uv
    python: str
    glibc: str
    platform: str


def adopt(spec: Spec, *, repo: Repo, uv: Uv, python: str, glibc: str, platform: str) -> tuple[Pin, ...]:
    """The pins of ``spec.adopted`` for one target, sorted by name.

    Parameters:
        python: exact version (``3.11.2``).
        glibc: newest manylinux policy (``2.36``).

    Raises:
        RepoError: the lock cannot be read, does not cover the target, names something that is not a wheel,
            or a hash in it is not that of the file in the index.
        RemoteError: the index cannot be reached.
    """
    adopted = spec.adopted
    if adopted is None:
        raise ValueError("there is no lock to adopt")
    where = _Where(uv, python, glibc, platform)
    if adopted.kind == "requirements.txt":
        return _adopt_requirements(spec.requirements, where)
    data = repo.read(adopted.path, _MOST_BYTES)
    if adopted.kind == "uv.lock":
        lock = _export(adopted, data, repo, uv)
        adopted = replace(adopted, extras=(), groups=())  # the export has applied them
    else:
        lock = _read_pylock(adopted, data)
    return _adopt_pylock(lock, adopted, data.decode("utf-8", "replace"), where)


# uv.lock


def _export(adopted: Adopted, data: bytes, repo: Repo, uv: Uv) -> Pylock:
    folder = posixpath.dirname(adopted.path)
    files = {"uv.lock": data}
    for member in ("", *_members(adopted, data)):
        name = posixpath.join(member, "pyproject.toml")
        path = posixpath.join(folder, name)
        if member == "" or repo.exists(path):
            files[name] = repo.read(path, _MOST_PROJECT_BYTES)
            _check_workspace(path, files[name])
    options = ["--no-emit-project", "--no-default-groups"]
    options += [option for extra in adopted.extras for option in ("--extra", extra)]
    options += [option for group in adopted.groups for option in ("--group", group)]
    try:
        return uv.export(files, options=options)
    except UvFailure as failure:
        said = re.search(r"error: (.*(?:\n\s*(?:cause|Caused by): .*)*)", failure.reason)
        reason = " ".join((said[1] if said else failure.reason).split())
        raise RepoError(
            f"uv does not accept this lock: {reason[:300]}",
            code="bad-adopted-lock",
            file=adopted.path,
            remedy="run `uv lock` in the repository",
            detail=failure.reason,
        ) from failure


def _members(adopted: Adopted, data: bytes) -> list[str]:
    """The folders of the other local projects in a ``uv.lock``, relative to it."""
    table = _toml(adopted.path, data)
    folders = set()
    packages = table.get("package")
    for package in packages if isinstance(packages, list) else ():
        source = package.get("source") if isinstance(package, dict) else None
        for kind in ("editable", "virtual", "directory"):
            folder = source.get(kind) if isinstance(source, dict) else None
            if not isinstance(folder, str):
                continue
            normal = posixpath.normpath(folder)
            if normal.startswith(("/", "..")) or "\0" in normal:
                raise RepoError(
                    f"{folder[:100]!r} is outside of the repository",
                    code="outside-repository",
                    file=adopted.path,
                    remedy="keep the projects of the workspace inside of the repository",
                )
            folders.add(normal)
    return sorted(folders - {"."})


def _check_workspace(path: str, data: bytes) -> None:
    """Refuse patterns with which uv would look for projects outside of the copy it is given."""
    tool = _toml(path, data).get("tool")
    for key in ("uv", "workspace"):
        tool = tool.get(key) if isinstance(tool, dict) else None
    patterns = tool.get("members") if isinstance(tool, dict) else None
    for pattern in patterns if isinstance(patterns, list) else ():
        if isinstance(pattern, str) and (pattern.startswith("/") or ".." in pattern.split("/")):
            raise RepoError(
                f"the workspace pattern {pattern[:100]!r} leads out of the repository",
                code="outside-repository",
                file=path,
                remedy="keep the projects of the workspace inside of the repository",
            )


# pylock.toml


def _read_pylock(adopted: Adopted, data: bytes) -> Pylock:
    try:
        return Pylock.from_dict(_toml(adopted.path, data))
    except PylockValidationError as error:
        raise RepoError(
            f"not a valid lock file (PEP 751): {error}",
            code="bad-adopted-lock",
            file=adopted.path,
            remedy="write it again with the tool that made it",
        ) from error


def _toml(file: str, data: bytes) -> dict[str, Any]:
    try:
        return tomli.loads(data.decode())
    except (tomli.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RepoError(
            f"not valid TOML: {getattr(error, 'msg', error)}",
            code="bad-toml",
            file=file,
            line=getattr(error, "lineno", None),
            remedy="write it again with the tool that made it",
        ) from error


def _adopt_pylock(lock: Pylock, adopted: Adopted, text: str, where: _Where) -> tuple[Pin, ...]:
    try:
        selected = list(
            lock.select(
                environment=cast("Environment", marker_environment(where.python, where.platform)),
                tags=target_tags(where.python, where.platform, where.glibc),
                extras=adopted.extras,
                dependency_groups=adopted.groups or None,
            )
        )
    except PylockSelectError as error:
        raise RepoError(
            f"the lock does not fit {where.platform} with Python {where.python}: {error}",
            code="adopted-lock-unfit",
            file=adopted.path,
            remedy="make the lock for this target too, or choose another Python (`envbuild base list`)",
        ) from error
    file = adopted.path
    wanted = {package.name: _wheel(package, chosen, file, text, where) for package, chosen in selected}
    asked = [
        Requirement(f"{package.name}=={package.version}", file, _line(text, package.name))
        for package, _ in selected
    ]
    offered = _ask_index(asked, where)
    pins = []
    for requirement, (package, _) in zip(asked, selected, strict=True):
        wheel = wanted[package.name]
        pins.append(_find(wheel, str(package.version), offered[package.name], requirement, where))
    return tuple(sorted(pins, key=lambda pin: pin.name))


def _wheel(package: Package, chosen: object, file: str, text: str, where: _Where) -> PackageWheel:
    kinds = {
        "PackageVcs": "comes from a version control system",
        "PackageDirectory": "is a directory",
        "PackageArchive": "is an archive at a URL",
        "PackageSdist": f"has no wheel for {where.platform} with Python {where.python}, only its source",
    }
    trouble = kinds.get(type(chosen).__name__)
    if isinstance(chosen, PackageWheel) and "sha256" not in chosen.hashes:
        trouble = "has no sha256"
    if package.version is None:
        trouble = trouble or "has no version"
    if isinstance(chosen, PackageWheel) and trouble is None:
        return chosen
    raise RepoError(
        f"{package.name} {trouble}, which is not supported yet",
        code="unsupported-package",
        file=file,
        line=_line(text, package.name),
        remedy="lock a version that is published as a wheel in a package index",
    )


def _find(wheel: PackageWheel, version: str, package: Package, place: Requirement, where: _Where) -> Pin:
    """The wheel of the lock as the index has it: same file name, same hash."""
    expected = wheel.hashes["sha256"].lower()
    found = [
        offered for offered in package.wheels or () if offered.filename == wheel.filename and offered.url
    ]
    for offered in found:
        if offered.url and offered.hashes.get("sha256") == expected:
            return Pin(
                name=package.name,
                version=version,
                filename=wheel.filename,
                sha256=expected,
                url=with_credentials(offered.url, where.uv.environment),
                size=offered.size,
            )
    if found:
        trouble = f"the index says sha256 {found[0].hashes.get('sha256')}, the lock {expected}"
        code = "hash-mismatch"
    else:
        trouble = "the index does not have this file"
        code = "not-in-index"
    raise RepoError(
        f"{wheel.filename}: {trouble}",
        code=code,
        file=place.file,
        line=place.line,
        remedy="set the index it is from (UV_INDEX), or write the lock again with the tool that made it",
    )


# requirements.txt with hashes


def _adopt_requirements(requirements: Sequence[Requirement], where: _Where) -> tuple[Pin, ...]:
    environment = marker_environment(where.python, where.platform)
    asked: dict[str, Requirement] = {}
    for requirement in requirements:
        parsed = parse_requirement(requirement)
        if parsed.marker is not None and not parsed.marker.evaluate(environment):
            continue
        exact = [one for one in parsed.specifier if one.operator in ("==", "===") and "*" not in one.version]
        if len(exact) != 1 or not requirement.hashes:
            raise RepoError(
                f"{parsed.name} is not pinned with == and a hash, but the other requirements are",
                code="not-pinned",
                file=requirement.file,
                line=requirement.line,
                remedy="pin every line, or none",
            )
        name = canonicalize_name(parsed.name)
        pin = Requirement(
            f"{name}=={exact[0].version}", requirement.file, requirement.line, requirement.hashes
        )
        if name in asked and asked[name].text != pin.text:
            raise RepoError(
                f"{name} is pinned twice for {where.platform}: {asked[name].text} and {pin.text}",
                code="pinned-twice",
                file=requirement.file,
                line=requirement.line,
                remedy="remove one of the lines",
            )
        asked[name] = pin
    offered = _ask_index(list(asked.values()), where)
    tags = target_tags(where.python, where.platform, where.glibc)
    return tuple(
        choose(
            offered[name],
            tags,
            platform=where.platform,
            environment=where.uv.environment,
            hashed=(requirement,),
        )
        for name, requirement in sorted(asked.items())
    )


# The index


def _ask_index(asked: Sequence[Requirement], where: _Where) -> Mapping[str, Package]:
    """What the user's index has of exactly these versions, by name."""
    if not asked:
        return {}
    versions = {}
    for requirement in asked:
        name, _, version = requirement.text.partition("==")
        versions[name] = version
    try:
        answer = look_up(
            versions, uv=where.uv, python=where.python, glibc=where.glibc, platform=where.platform
        )
    except UvFailure as failure:
        raise explain(failure.reason, asked, (), f"{where.platform}, Python {where.python}") from failure
    return {package.name: package for package in answer.packages}


def _line(text: str, name: str) -> int | None:
    match = re.search(rf'^name = "{re.escape(name)}"', text, re.MULTILINE)
    return text.count("\n", 0, match.start()) + 1 if match else None
