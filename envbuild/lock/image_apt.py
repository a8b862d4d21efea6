"""The Debian packages of ``apt.txt`` where the base is an image of a registry.

They are resolved against what dpkg says is installed there, in the indexes of its release of Debian. As with
``apt-get install``, a package of the image is upgraded where a new one needs that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from envbuild.base.locking import MAX_AGE_SECONDS, read_answer, write_answer
from envbuild.base.version import Version
from envbuild.errors import RemoteError, RepoError
from envbuild.lock.apt import AptLocker
from envbuild.lock.model import Base, BaseImage, Deb
from envbuild.registry_base.dpkg import Installed, status_text
from envbuild.spec.model import AptPackage

__all__ = ["ImageAptLocker", "InstalledOf"]

InstalledOf = Callable[[BaseImage, str], tuple[Installed, ...]]
"""What is installed in the image that a base is for a platform."""

_DEBIAN: Final = "debian"


@dataclass(frozen=True, slots=True)
class ImageAptLocker:
    """As :class:`envbuild.lock.apt.AptLocker`, for ``base``, which is an image.

    Parameters:
        apt: where answers about Debian packages come from; its suite is that of the apt that solves.
        installed: asked only if there is something to resolve.
    """

    apt: AptLocker
    base: Base
    installed: InstalledOf | None

    def lock(
        self, asked: tuple[AptPackage, ...], debs: tuple[Deb, ...], platform: str, previous: tuple[Deb, ...]
    ) -> tuple[Deb, ...]:
        """What ``asked`` needs on ``platform`` beside what is installed, sorted by name.

        Parameters:
            debs: what files are added to the image from; they are not installed.
            previous: as for :meth:`envbuild.lock.apt.AptLocker.lock`.

        Raises:
            RepoError: the image is not of Debian, or the packages cannot be had together in it.
            RemoteError: Debian's indexes of its release cannot be had.
            MachineError: apt does not run here.
        """
        if not asked:
            return ()
        assert self.base.image is not None
        release = self._release(asked[0], self.base.image.platforms[platform].distribution)
        there = self.installed(self.base.image, platform) if self.installed is not None else ()
        if previous and _is_what_is_asked(previous, asked, there):
            return previous
        preferred = {deb.name: deb.version for deb in previous}
        architecture = platform.removeprefix("linux/")
        path = self.apt.store.debian / f"{_key(release, asked, there, preferred, architecture)}.json"
        known = read_answer(self.apt.store, path, None if self.apt.offline else MAX_AGE_SECONDS)
        if known is None:
            found = self._solve(release, asked, there, preferred, architecture)
            known = {architecture: found}
            write_answer(self.apt.store, path, known)
        self._check_python(known[architecture], asked[0], platform)
        return known[architecture]

    def _release(self, package: AptPackage, distribution: str) -> str:
        """The suite of Debian that the image is of."""
        name, _, release = distribution.partition(" ")
        if name == _DEBIAN:
            return release
        what = f"of {distribution}" if distribution else "without dpkg"
        raise RepoError(
            f"`{package.name}` cannot be installed: the base {self.base.name} is {what}, and only Debian's"
            " packages are resolved",
            code="apt-unfit-base",
            file=package.file,
            line=package.line,
            remedy="use a base that is made of Debian, or an image that has the package already",
        )

    def _solve(
        self,
        release: str,
        asked: tuple[AptPackage, ...],
        there: tuple[Installed, ...],
        preferred: dict[str, str],
        architecture: str,
    ) -> tuple[Deb, ...]:
        apt = self.apt
        if apt.offline:
            raise RemoteError(
                "the packages of apt.txt were never looked up and this is an offline run",
                code="offline",
                remedy="run once without --offline",
            )
        # Slow to import, and most locks do not come here.
        from envbuild.base.apt import AptRequest, solve
        from envbuild.base.apt_tool import apt_tool
        from envbuild.base.debian import open_archive, suites
        from envbuild.base.resolve import Catalog

        tool = apt_tool(apt.suite, store=apt.store, mirrors=apt.mirrors, reporter=apt.reporter)
        try:
            with open_archive(mirrors=apt.mirrors, store=apt.store, reporter=apt.reporter) as archive:
                releases = [archive.release(source, suite) for source, suite in suites(release)]
                indexes = [archive.index(one, architecture) for one in releases]
        except RemoteError as error:
            raise RemoteError(
                f"the packages of Debian `{release}`, which the base {self.base.name} is, cannot be had:"
                f" {error.message}",
                code=error.code,
                file=asked[0].file,
                line=asked[0].line,
                remedy=error.remedy,
            ) from error
        request = AptRequest(release, architecture, (), asked, preferred, status_text(there))
        with apt.store.temporary_directory() as scratch:
            return solve(request, Catalog(indexes), indexes, apt=tool, scratch=Path(scratch))

    def _check_python(self, found: tuple[Deb, ...], package: AptPackage, platform: str) -> None:
        """Refuse to put another Python in the place of the base's."""
        minor = self.base.python_minor
        if not self.base.executable(platform).startswith("/usr/bin/"):
            return
        for deb in found:
            if deb.name != f"python{minor}-minimal":
                continue
            version = Version(deb.version).upstream
            if version != self.base.python:
                raise RepoError(
                    f"what apt.txt asks for would make the base's Python {version} of {self.base.python}",
                    code="apt-changes-python",
                    file=package.file,
                    line=package.line,
                    remedy="use a newer image as the base (`envbuild lock --upgrade-base`)",
                )


def _is_what_is_asked(
    locked: tuple[Deb, ...], asked: tuple[AptPackage, ...], there: tuple[Installed, ...]
) -> bool:
    """Whether ``locked``, with what is there, is an answer to ``asked``."""
    direct = {deb.name: deb.version for deb in locked if deb.direct}
    versions = {package.name: package.version for package in there} | direct
    return direct.keys() <= {package.name for package in asked} and all(
        package.name in versions and package.version in (None, versions[package.name]) for package in asked
    )


def _key(
    release: str,
    asked: tuple[AptPackage, ...],
    there: tuple[Installed, ...],
    preferred: dict[str, str],
    architecture: str,
) -> str:
    content = [
        "apt on an image",
        release,
        sorted([package.name, package.version or ""] for package in asked),
        status_text(there),
        preferred,
        architecture,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
