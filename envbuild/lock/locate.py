"""Finding where the user's index has files that a lock names: by version, file name and sha256."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from envbuild.lock.addresses import recall, remember, split_url, with_credentials
from envbuild.lock.model import Artifact, Lock, Wheel
from envbuild.lock.uv import look_up
from envbuild.lock.uv_process import Uv, UvFailure

__all__ = ["Locator"]


class Locator:
    """Answers "where is this wheel?" for the wheels of one lock; the ``locate`` of a ``Fetcher``.

    The first question asks the index about every wheel of the lock at once and remembers the address the
    answers have in common, so that the next run need not ask.
    """

    def __init__(self, lock: Lock, uv: Uv) -> None:
        self._lock = lock
        self._uv = uv
        self._urls: dict[tuple[str, str], str] | None = None

    def __call__(self, artifact: Artifact) -> str | None:
        """The URL of ``artifact`` (maybe with credentials), None when the index does not have it."""
        if artifact.source != "pypi":
            return None
        if self._urls is None:
            self._urls = self._find()
        found = self._urls.get((artifact.filename, artifact.sha256))
        if found is None and artifact.path and not artifact.filename.endswith(".whl"):
            # A source distribution, for which uv was not asked. What was found tells where files are.
            found = next(
                (base + artifact.path for base in recall(self._uv.store, self._uv.environment)), None
            )
        return found

    def _find(self) -> dict[tuple[str, str], str]:
        found: dict[tuple[str, str], str] = {}
        bases = []
        for platform, python, wheels in self._sections():
            for filename, sha256, url in self._ask(platform, python, wheels):
                found[filename, sha256] = with_credentials(url, self._uv.environment)
                bases.append(split_url(url)[0])
        remember(self._uv.store, self._uv.environment, sorted(set(bases), key=bases.count, reverse=True))
        return found

    def _sections(self) -> Iterator[tuple[str, str, Sequence[Wheel]]]:
        """Platform, exact Python and wheels."""
        base = self._lock.base
        for platform, server in sorted(base.server.items()):
            yield platform, base.python, server
        for target in self._lock.targets:
            of_index = [wheel for wheel in target.wheels if wheel.artifact.source == "pypi"]
            yield target.platform, target.conda_python or base.python, of_index
            for built in target.built:
                yield target.platform, base.python, built.requires

    def _ask(self, platform: str, python: str, wheels: Sequence[Wheel]) -> Iterator[tuple[str, str, str]]:
        """``(filename, sha256, url)`` of every wheel the index has of these versions."""
        base = self._lock.base
        versions = {wheel.name: wheel.version for wheel in wheels}
        try:
            answer = look_up(
                versions, uv=self._uv, python=python, glibc=base.glibc, platform=platform, refresh=True
            )
        except UvFailure:
            # One version is gone, and uv gives all or nothing. Halving finds the ones that are left.
            if len(wheels) > 1:
                middle = len(wheels) // 2
                yield from self._ask(platform, python, wheels[:middle])
                yield from self._ask(platform, python, wheels[middle:])
            return
        for package in answer.packages:
            for wheel in package.wheels or ():
                if wheel.url and "sha256" in wheel.hashes:
                    yield wheel.filename, wheel.hashes["sha256"], wheel.url
