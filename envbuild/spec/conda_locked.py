"""What locks of conda environments hold, whichever tool wrote them: :class:`LockedConda`.

Everything is checked here before it can become a file name or part of a URL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from envbuild.source.text import quote
from envbuild.spec.channel import channel_of_url, hide_token
from envbuild.spec.match_spec import python_specifier
from envbuild.spec.model import PythonRequest, SourceRequirement
from envbuild.spec.pep508 import canonical_name
from envbuild.spec.yaml_file import Node

__all__ = [
    "SUBDIRS",
    "LockedConda",
    "LockedCondaPackage",
    "LockedWheel",
    "conda_package",
    "pypi_file",
    "python_of",
]

SUBDIRS = {"linux/amd64": "linux-64", "linux/arm64": "linux-aarch64"}
"""OCI platform -> conda's name of it."""

_PACKAGE = re.compile(
    r"(?P<name>[a-z0-9_][a-z0-9._-]*)-(?P<version>[A-Za-z0-9][A-Za-z0-9._+!]*)-(?P<build>[A-Za-z0-9_.+]+)"
    r"\.(?:conda|tar\.bz2)",
    re.ASCII,
)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII)
_SIZE = re.compile(r"[1-9]\d{0,12}", re.ASCII)
_SAFE_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!~-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class LockedCondaPackage:
    """A conda package in a lock. ``size`` (bytes) is None and ``noarch`` "" when it does not tell.

    ``purls`` say what it is elsewhere (``pkg:pypi/torch``), if that is known. ``site_packages`` is where a
    ``python`` looks for packages, if its record says so (CEP 17).
    """

    name: str
    version: str
    build: str
    channel: str
    subdir: str
    filename: str
    sha256: str
    md5: str
    size: int | None
    noarch: str
    depends: tuple[str, ...]
    line: int
    purls: tuple[str, ...] = ()
    site_packages: str = ""


@dataclass(frozen=True, slots=True)
class LockedWheel:
    """A wheel of a package index in a conda environment's lock; ``name`` is normalised (PEP 503)."""

    name: str
    version: str
    filename: str
    sha256: str
    line: int


@dataclass(frozen=True, slots=True)
class LockedConda:
    """A lock: what each platform (``linux/amd64``) gets. ``sources`` are projects in the repository."""

    path: str
    conda: dict[str, tuple[LockedCondaPackage, ...]]
    wheels: dict[str, tuple[LockedWheel, ...]]
    sources: tuple[SourceRequirement, ...] = ()

    @property
    def channels(self) -> tuple[str, ...]:
        """Where its conda packages are from, sorted."""
        return tuple(sorted({package.channel for of in self.conda.values() for package in of}))

    @property
    def names(self) -> frozenset[str]:
        """The canonical names of everything in it."""
        conda = {package.name for of in self.conda.values() for package in of}
        wheels = {wheel.name for of in self.wheels.values() for wheel in of}
        return frozenset(map(canonical_name, conda | wheels))


def conda_package(
    url: Node,
    *,
    sha256: Node | None,
    md5: Node | None,
    size: Node | None,
    noarch: Node | None,
    depends: tuple[str, ...],
) -> LockedCondaPackage:
    """A package from its URL and what the lock says beside that.

    Raises:
        RepoError: something is missing or cannot be; names the line.
    """
    text = url.text("a package's URL")
    place = channel_of_url(text)
    if place is None:
        raise url.bad_lock(f"{quote(hide_token(text))} is not the address of a conda package")
    channel, subdir, filename = place
    match = _PACKAGE.fullmatch(filename)
    if match is None or (subdir != "noarch" and subdir not in SUBDIRS.values()):
        raise url.bad_lock(f"{quote(hide_token(text))} is not a conda package for Linux")
    kind = noarch.text("noarch") if noarch is not None else ""
    return LockedCondaPackage(
        name=match["name"],
        version=match["version"],
        build=match["build"],
        channel=channel,
        subdir=subdir,
        filename=filename,
        sha256=_checked(sha256, _SHA256, "sha256", url),
        md5=_checked(md5, _MD5, "md5", url) if md5 is not None else "",
        size=int(_checked(size, _SIZE, "size", url)) if size is not None else None,
        noarch=kind if kind in ("python", "generic") else "",
        depends=tuple(sorted(text for text in depends if re.fullmatch(r"[ -~]{1,500}", text))),
        line=url.line,
    )


def pypi_file(url: Node, *, name: str, version: str, sha256: Node | None) -> LockedWheel:
    """A package index's wheel from its URL, name and version.

    Raises:
        RepoError: it is not a wheel, or has no sha256; names the line.
    """
    filename = unquote(re.split(r"[?#]", url.text("a URL"))[0].rpartition("/")[2])
    try:
        stated, number, _, _ = parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise url.error(
            f"{quote(filename)} is not a wheel, and only wheels can be taken over from this lock",
            code="unsupported-package",
            remedy="lock a version that is published as a wheel",
        ) from error
    if (
        stated != canonical_name(name)
        or version not in ("", str(number))
        or not _SAFE_FILE.fullmatch(filename)
    ):
        raise url.bad_lock(f"{quote(filename)} is not a wheel of {quote(name)} {quote(version)}")
    return LockedWheel(str(stated), str(number), filename, _checked(sha256, _SHA256, "sha256", url), url.line)


def _checked(node: Node | None, pattern: re.Pattern[str], what: str, place: Node) -> str:
    if node is None or node.value is None:
        raise place.bad_lock(f"this package has no {what}")
    value = node.text(what).lower()
    if not pattern.fullmatch(value):
        raise node.bad_lock(f"{what} has an impossible value {quote(value)}")
    return value


def python_of(lock: LockedConda) -> PythonRequest | None:
    """The Python a lock has, None when it has none (or several)."""
    found = {
        (package.version, package.line)
        for of in lock.conda.values()
        for package in of
        if package.name == "python"
    }
    if len({version for version, _ in found}) != 1:
        return None
    version, line = min(found)
    specifier = python_specifier(f"=={version}")
    return PythonRequest(specifier, lock.path, line) if specifier else None
