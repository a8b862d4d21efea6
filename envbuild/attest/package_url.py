"""Package URLs (purl): one name for a package that every scanner understands.

Follows the purl specification (ECMA-427) and its definitions of the types ``pypi``, ``conda``, ``deb``,
``generic`` and ``oci``.
"""

from __future__ import annotations

from urllib.parse import quote

from envbuild.image.reference import Reference
from envbuild.lock.model import Built, CondaPackage, Deb, Wheel
from envbuild.source.text import redact

__all__ = ["base_image_url", "conda_url", "deb_url", "generic_url", "image_url", "sdist_url", "wheel_url"]


def wheel_url(wheel: Wheel, built: Built | None = None) -> str:
    """The package that ``wheel`` is of.

    Parameters:
        built: what it was built from. Only what comes from an index has the index's name: a package of a
            repository that is called like another one is not that one.
    """
    if built is None or built.kind == "sdist":
        return _url("pypi", wheel.name, wheel.version)
    if built.kind == "vcs":
        source = {"vcs_url": f"git+{redact(built.location)}@{built.commit}"}
    elif built.kind == "url":
        source = {"download_url": redact(built.location)}
    else:
        source = {}
    return _url("generic", wheel.name, wheel.version, source)


def conda_url(package: CondaPackage) -> str:
    """The conda package, of this build and channel."""
    suffix = ".tar.bz2" if package.artifact.filename.endswith(".tar.bz2") else ".conda"
    details = {
        "build": package.build,
        "channel": package.artifact.source,
        "subdir": package.subdir,
        "type": suffix.removeprefix("."),
    }
    return _url("conda", package.name, package.version, details)


def deb_url(deb: Deb, suite: str, distribution: str = "debian") -> str:
    """The package of a release of Debian or of a distribution made from it (``bookworm``)."""
    return _url("deb", f"{distribution}/{deb.name}", deb.version, {"arch": deb.arch, "distro": suite})


def generic_url(name: str, version: str) -> str:
    """Something of no package manager."""
    return _url("generic", name, version)


def sdist_url(name: str, version: str, filename: str) -> str:
    """The source distribution with this file name."""
    return _url("pypi", name, version, {"file_name": filename})


def image_url(name: str, digest: str, platform: str | None = None) -> str:
    """The image with this manifest, wherever it is; an index over several has no platform.

    >>> image_url("demo", "sha256:00ff", "linux/arm64")
    'pkg:oci/demo@sha256:00ff?arch=arm64'
    """
    details = {"arch": platform.partition("/")[2]} if platform else None
    return _url("oci", name.lower(), digest, details)


def base_image_url(reference: Reference, digest: str, platform: str | None = None) -> str:
    """The image in a registry with this manifest, or with this index, which has no platform."""
    details = {"repository_url": reference.name}
    if reference.tag:
        details["tag"] = reference.tag
    if platform:
        details["arch"] = platform.partition("/")[2]
    return _url("oci", reference.repository.rpartition("/")[2], digest, details)


def _url(kind: str, name: str, version: str, qualifiers: dict[str, str] | None = None) -> str:
    """The parts put together: percent-encoded, qualifiers by name."""
    url = f"pkg:{kind}/{quote(name, safe='/')}@{quote(version, safe=':')}"
    if qualifiers:
        url += "?" + "&".join(f"{key}={quote(value, safe=':/')}" for key, value in sorted(qualifiers.items()))
    return url
