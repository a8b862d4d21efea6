"""A lock in formats that other tools install from: ``pylock.toml``, ``requirements.txt``, ``conda-lock.yml``.

Each has the environment's packages, not the base's and not the server's. Where a format wants addresses they
are those of the user's own index, without credentials.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from packaging.markers import Marker
from packaging.pylock import Package, PackageSdist, PackageWheel, Pylock
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from envbuild.errors import RepoError, UsageError
from envbuild.lock.model import Artifact, CondaPackage, Lock, Target, Wheel
from envbuild.lock.select import MACHINES

__all__ = ["FORMATS", "check_name", "export"]

FORMATS = ("pylock", "requirements", "conda-lock")
"""What :func:`export` writes."""

_HEADER = "# Made by `envbuild export` from envbuild.lock."
_PYLOCK = re.compile(r"pylock(?:\.[^.]+)?\.toml")
_SUBDIRS = {"linux/amd64": "linux-64", "linux/arm64": "linux-aarch64"}

Locate = Callable[[Artifact], str]


def export(lock: Lock, form: str, *, platforms: Sequence[str], locate: Locate) -> str:
    """The text of ``lock`` in the format ``form``.

    Parameters:
        form: one of :data:`FORMATS`.
        platforms: those of the lock that are wanted; at least one.
        locate: the URL of an artifact; credentials in it are left out.

    Raises:
        UsageError: the lock has no such platform.
        RepoError: a package is from no index, or the format demands what the lock does not have of it.
    """
    missing = sorted(set(platforms) - {target.platform for target in lock.targets})
    if missing:
        raise UsageError(
            f"{', '.join(missing)} is not locked",
            code="not-locked",
            remedy=f"run `envbuild lock {' '.join(f'--platform {platform}' for platform in platforms)}`",
        )
    targets = [target for target in lock.targets if target.platform in platforms]
    if form == "requirements":
        return _requirements(lock, targets)
    if form == "pylock":
        return _pylock(lock, targets, locate)
    return _conda_lock(lock, targets, locate)


def check_name(name: str, form: str) -> None:
    """Refuse a name of a file under which nobody would read the format ``form`` (PEP 751).

    Raises:
        UsageError: as it says.
    """
    if form == "pylock" and not _PYLOCK.fullmatch(name):
        raise UsageError(
            f"{name} is no name for a lock of PEP 751: installers go by the name",
            code="bad-output",
            remedy="call it pylock.toml or pylock.NAME.toml",
        )


@dataclass(frozen=True, slots=True)
class _Shared:
    """One version of a package, the files of the targets that have it, and the marker of these targets."""

    name: str
    version: str
    files: tuple[Artifact, ...]
    marker: str


def _shared(targets: Sequence[Target]) -> list[_Shared]:
    found: dict[tuple[str, str], dict[str, Artifact]] = {}
    for target in targets:
        for wheel in target.wheels:
            found.setdefault((wheel.name, wheel.version), {})[target.platform] = _file(wheel, target)
    result = []
    for (name, version), files in sorted(found.items()):
        machines = [f'platform_machine == "{MACHINES[platform]}"' for platform in sorted(files)]
        marker = " or ".join(machines) if len(files) < len(targets) else ""
        result.append(_Shared(name, version, tuple(sorted(set(files.values()))), marker))
    return result


def _file(wheel: Wheel, target: Target) -> Artifact:
    """What an index has of a package: the wheel, or the source distribution it was built from."""
    if wheel.artifact.source != "built":
        return wheel.artifact
    (built,) = [one for one in target.built if one.name == wheel.name]
    if built.kind != "sdist" or built.archive is None:
        raise RepoError(
            f"{wheel.name} is built from {built.location}, which cannot be exported: no index has it",
            code="not-exportable",
            file="envbuild.lock",
            remedy="depend on a released version of the package",
        )
    return built.archive


def _requirements(lock: Lock, targets: Sequence[Target]) -> str:
    """Hashed requirements (pip's format); packages that are not on all targets have a marker."""
    names = ", ".join(target.platform for target in targets)
    lines = [_HEADER, f"# For Python {lock.base.python_minor} on {names}."]
    for package in _shared(targets):
        marker = f" ; {package.marker}" if package.marker else ""
        hashes = sorted({file.sha256 for file in package.files})
        options = "".join(f" \\\n    --hash=sha256:{sha256}" for sha256 in hashes)
        lines.append(f"{package.name}=={package.version}{marker}{options}")
    return "\n".join(lines) + "\n"


def _pylock(lock: Lock, targets: Sequence[Target], locate: Locate) -> str:
    """PEP 751. Later patch releases of the same Python are let in: wheels do not tell them apart."""
    import tomli_w

    major, minor = lock.base.python.split(".")[:2]
    document = Pylock(
        lock_version=Version("1.0"),
        created_by="envbuild",
        requires_python=SpecifierSet(f">={lock.base.python},<{major}.{int(minor) + 1}"),
        environments=[
            Marker(f'sys_platform == "linux" and platform_machine == "{MACHINES[target.platform]}"')
            for target in targets
        ],
        packages=[
            Package(
                name=canonicalize_name(package.name),
                version=Version(package.version),
                marker=Marker(package.marker) if package.marker else None,
                wheels=[
                    PackageWheel(name=file.filename, **_place(file, locate))
                    for file in package.files
                    if file.filename.endswith(".whl")
                ]
                or None,
                sdist=next(
                    (
                        PackageSdist(name=file.filename, **_place(file, locate))
                        for file in package.files
                        if not file.filename.endswith(".whl")
                    ),
                    None,
                ),
            )
            for package in _shared(targets)
        ],
    )
    document.validate()
    return f"{_HEADER}\n\n{tomli_w.dumps(dict(document.to_dict()))}"


def _place(file: Artifact, locate: Locate) -> dict[str, Any]:
    return {"url": _public(locate(file)), "size": file.size, "hashes": {"sha256": file.sha256}}


def _conda_lock(lock: Lock, targets: Sequence[Target], locate: Locate) -> str:
    """Version 1 of conda-lock's format, which all its releases read."""
    rows = []
    channels: dict[str, None] = {}
    for target in targets:
        subdir = _SUBDIRS[target.platform]
        for package in sorted(target.conda):
            url = _public(locate(package.artifact))
            channels[url.removesuffix(f"/{package.artifact.path}")] = None
            rows.append(_conda_row(package, subdir, url))
        for wheel in sorted(target.wheels):
            file = _file(wheel, target)
            rows.append(_pip_row(wheel, subdir, _public(locate(file)), file.sha256))
    subdirs = [_SUBDIRS[target.platform] for target in targets]
    lines = [
        _HEADER,
        "version: 1",
        "metadata:",
        "  content_hash:",
        *(f"    {subdir}: {_quote(lock.inputs.partition(':')[2])}" for subdir in subdirs),
        "  channels:" if channels else "  channels: []",
        *(line for url in channels for line in (f"  - url: {_quote(url)}", "    used_env_vars: []")),
        "  platforms:",
        *(f"  - {subdir}" for subdir in subdirs),
        "  sources:",
        "  - envbuild.lock",
        "package:",
        *(line for row in rows for line in row),
    ]
    return "\n".join(lines if rows else [*lines[:-1], "package: []"]) + "\n"


def _conda_row(package: CondaPackage, subdir: str, url: str) -> Iterator[str]:
    if not package.md5:
        raise RepoError(
            f"{package.name} has no MD5 in this lock, and conda-lock demands one",
            code="not-exportable",
            file="envbuild.lock",
            remedy="lock anew from environment.yml",
        )
    yield from _row(package.name, package.version, "conda", subdir)
    if package.depends:
        yield "  dependencies:"
        together: dict[str, list[str]] = {}  # packages may say two things about one other
        for depends in sorted(package.depends):
            name, _, constraint = depends.partition(" ")
            together.setdefault(name, []).append(constraint)
        for name, constraints in together.items():
            yield f"    {_quote(name)}: {_quote(','.join(filter(None, constraints)))}"
    else:
        yield "  dependencies: {}"
    yield f"  url: {_quote(url)}"
    yield from (
        "  hash:",
        f"    md5: {_quote(package.md5)}",
        f"    sha256: {_quote(package.artifact.sha256)}",
    )
    yield from (f"  build: {_quote(package.build)}", "  category: main", "  optional: false")


def _pip_row(wheel: Wheel, subdir: str, url: str, sha256: str) -> Iterator[str]:
    yield from _row(wheel.name, wheel.version, "pip", subdir)
    yield from ("  dependencies: {}", f"  url: {_quote(url)}")
    yield from ("  hash:", f"    sha256: {_quote(sha256)}")
    yield from ("  category: main", "  optional: false")


def _row(name: str, version: str, manager: str, subdir: str) -> Iterator[str]:
    yield f"- name: {_quote(name)}"
    yield f"  version: {_quote(version)}"
    yield from (f"  manager: {manager}", f"  platform: {subdir}")


def _quote(text: str) -> str:
    """A YAML double-quoted scalar; JSON's are such."""
    return json.dumps(text)


def _public(url: str) -> str:
    """``url`` without user, password and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))
