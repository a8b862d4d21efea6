"""The Debian packages of ``apt.txt`` in a lock."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from envbuild.base.locking import MAX_AGE_SECONDS, read_answer, write_answer
from envbuild.base.mirrors import Mirrors, snapshot_mirrors
from envbuild.errors import RemoteError
from envbuild.lock.model import Deb, Lock
from envbuild.progress import Reporter
from envbuild.spec.model import AptPackage
from envbuild.store import Store

__all__ = ["AptLocker", "previous_apt"]


@dataclass(frozen=True, slots=True)
class AptLocker:
    """Where answers about Debian packages come from.

    ``date`` is when the base's packages were the newest (``YYYY-MM-DDTHH:MM:SSZ``).
    """

    suite: str
    date: str
    store: Store
    mirrors: Mirrors
    reporter: Reporter
    offline: bool = False

    def lock(
        self, asked: tuple[AptPackage, ...], base: tuple[Deb, ...], platform: str, previous: tuple[Deb, ...]
    ) -> tuple[Deb, ...]:
        """What ``asked`` needs on ``platform`` beside ``base``, sorted by name.

        Parameters:
            previous: what an earlier lock has for the same base: kept when nothing else is asked for now, and
                the first choice otherwise.

        Raises:
            RepoError: a package does not exist, or they cannot be had together.
            RemoteError: Debian's indexes cannot be had, or no longer have the base's packages.
            MachineError: apt does not run here.
        """
        if not asked:
            return ()
        if previous and _is_what_is_asked(previous, asked, base):
            return previous
        preferred = {deb.name: deb.version for deb in previous}
        architecture = platform.removeprefix("linux/")
        path = self.store.debian / f"{_key(asked, base, preferred, architecture)}.json"
        known = read_answer(self.store, path, None if self.offline else MAX_AGE_SECONDS)
        if known is None:
            known = {architecture: self._solve(asked, base, preferred, architecture)}
            write_answer(self.store, path, known)
        return known[architecture]

    def _solve(
        self,
        asked: tuple[AptPackage, ...],
        base: tuple[Deb, ...],
        preferred: Mapping[str, str],
        architecture: str,
    ) -> tuple[Deb, ...]:
        if self.offline:
            raise RemoteError(
                "the packages of apt.txt were never looked up and this is an offline run",
                code="offline",
                remedy="run once without --offline",
            )
        # Slow to import, and most locks do not come here.
        from envbuild.base.apt import AptRequest, base_paragraphs, solve
        from envbuild.base.apt_tool import apt_tool
        from envbuild.base.debian import open_archive, suites
        from envbuild.base.resolve import Catalog

        apt = apt_tool(self.suite, store=self.store, mirrors=self.mirrors, reporter=self.reporter)
        for mirrors in (self.mirrors, snapshot_mirrors(datetime.fromisoformat(self.date))):
            try:
                with open_archive(mirrors=mirrors, store=self.store, reporter=self.reporter) as archive:
                    releases = [archive.release(source, suite) for source, suite in suites(self.suite)]
                    indexes = [archive.index(release, architecture) for release in releases]
            except RemoteError as error:
                if mirrors is self.mirrors:
                    raise
                raise _base_is_older(error) from error
            catalog = Catalog(indexes)
            if base_paragraphs(catalog, base) is not None:
                break
        else:
            raise _base_is_older(None)
        request = AptRequest(self.suite, architecture, base, asked, preferred)
        with self.store.temporary_directory() as scratch:
            return solve(request, catalog, indexes, apt=apt, scratch=Path(scratch))


def previous_apt(previous: Lock | None, platform: str) -> tuple[Deb, ...]:
    """The Debian packages that ``previous`` adds for ``platform``, none when it has no such section."""
    for target in previous.targets if previous else ():
        if target.platform == platform:
            return target.apt
    return ()


def _is_what_is_asked(locked: Sequence[Deb], asked: Sequence[AptPackage], base: Sequence[Deb]) -> bool:
    there = {deb.name: deb.version for deb in base}
    direct = {deb.name: deb.version for deb in locked if deb.direct}
    names = {package.name for package in asked}
    versions = there | direct
    return direct.keys() <= names and all(
        package.name in versions and package.version in (None, versions[package.name]) for package in asked
    )


def _key(
    asked: Sequence[AptPackage], base: Sequence[Deb], preferred: Mapping[str, str], architecture: str
) -> str:
    content = [
        "apt",
        sorted([package.name, package.version or ""] for package in asked),
        sorted(deb.artifact.sha256 for deb in base),
        dict(preferred),
        architecture,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _base_is_older(cause: RemoteError | None) -> RemoteError:
    return RemoteError(
        "Debian has moved on since the base was locked, so packages that fit it cannot be chosen"
        + (f": {cause.message}" if cause else ""),
        code="apt-base-older",
        remedy="run `envbuild lock --upgrade-base`, or try again when Debian's snapshot archive answers",
    )
