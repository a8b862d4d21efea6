"""What a repository's own ignore files leave out of its image.

``.dockerignore`` (or ``.containerignore``) in the root is followed as Docker does; ``.gitignore`` files,
wherever they are, as git does, except that a file which git tracks is not ignored.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from envbuild.errors import RepoError
from envbuild.source.git_index import tracked_files
from envbuild.source.patterns import Pattern, docker_patterns, git_pattern
from envbuild.source.repo import Repo, RepoFile
from envbuild.source.text import printable

__all__ = ["DOCKER_FILES", "DockerIgnore", "GitIgnore"]

DOCKER_FILES = (".dockerignore", ".containerignore")
_MOST_BYTES = 4 << 20
_MOST_PATTERNS = 10_000


@dataclass(frozen=True, slots=True)
class DockerIgnore:
    """The patterns of ``file``, in order: the last one that fits decides."""

    file: str
    patterns: tuple[Pattern, ...]
    _directories: dict[tuple[str, ...], int] = field(default_factory=dict)

    @classmethod
    def read(cls, repo: Repo) -> DockerIgnore | None:
        """That of ``repo``, None when it has none.

        Raises:
            RepoError: it cannot be read, or a line is not a pattern.
        """
        file = next((name for name in DOCKER_FILES if repo.exists(name)), None)
        if file is None:
            return None
        patterns: list[Pattern] = []
        text = repo.read(file, _MOST_BYTES).removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                patterns += docker_patterns(line)
            except ValueError as error:
                raise RepoError(f"this {error}", code="bad-ignore-file", file=file, line=number) from error
            _check_number(patterns, file)
        return cls(file, tuple(patterns))

    def ignores(self, path: bytes) -> bool:
        """Whether ``path`` stays out: the last pattern about it or a directory it is in decides."""
        fitting = self._fitting(tuple(os.fsdecode(path).split("/")))
        ignored = False
        for number, pattern in enumerate(self.patterns):
            if fitting >> number & 1:
                ignored = not pattern.negated
        return ignored

    def _fitting(self, parts: tuple[str, ...]) -> int:
        """The patterns about ``parts`` or a directory above it, as bits."""
        if not parts:
            return 0
        if (above := self._directories.get(parts[:-1])) is None:
            above = self._directories[parts[:-1]] = self._fitting(parts[:-1])
        for number, pattern in enumerate(self.patterns):
            if not above >> number & 1 and pattern.matches(parts):
                above |= 1 << number
        return above


@dataclass(slots=True)
class GitIgnore:
    """The ``.gitignore`` files of a repository; directories are to be asked about before what is in them.

    ``tracked`` is what git tracks, which it never ignores; None when that is not known.
    """

    patterns: dict[tuple[str, ...], tuple[Pattern, ...]]
    tracked: frozenset[bytes] | None = None
    _ignored: set[tuple[str, ...]] = field(default_factory=set)

    @classmethod
    def read(cls, repo: Repo, files: Sequence[RepoFile]) -> GitIgnore | None:
        """Those among ``files`` of ``repo``; None when there are none, or all files are known to be tracked.

        Raises:
            RepoError: one cannot be read.
        """
        # What was fetched with git holds nothing but tracked files.
        if repo.origin is not None and repo.origin.tracked:
            return None
        found: dict[tuple[str, ...], tuple[Pattern, ...]] = {}
        for file in files:
            if file.kind != "file" or file.path.rpartition(b"/")[2] != b".gitignore":
                continue
            name = os.fsdecode(file.path)
            patterns: list[Pattern] = []
            # Not splitlines: git knows one end of line.
            for line in repo.read(name, _MOST_BYTES).removeprefix(b"\xef\xbb\xbf").split(b"\n"):
                try:
                    pattern = git_pattern(line.decode("latin-1"))
                except ValueError:
                    continue  # longer than any name: it fits nothing
                if pattern is not None:
                    patterns.append(pattern)
                    _check_number(patterns, printable(name))
            found[_parts(file.path)[:-1]] = tuple(reversed(patterns))
        return cls(found, tracked_files(repo)) if any(found.values()) else None

    def ignores(self, file: RepoFile) -> bool:
        """Whether ``file`` stays out. In a directory that is ignored everything is."""
        parts = _parts(file.path)
        ignored = parts[:-1] in self._ignored or self._says(parts, is_directory=file.kind == "dir")
        if ignored and file.kind == "dir":
            self._ignored.add(parts)
        return ignored and (self.tracked is None or file.path not in self.tracked)

    def _says(self, parts: tuple[str, ...], *, is_directory: bool) -> bool:
        for depth in range(len(parts) - 1, -1, -1):
            for pattern in self.patterns.get(parts[:depth], ()):
                if (is_directory or not pattern.directory) and pattern.matches(parts[depth:]):
                    return not pattern.negated
        return False


def _parts(path: bytes) -> tuple[str, ...]:
    return tuple(path.decode("latin-1").split("/"))


def _check_number(patterns: Sequence[Pattern], file: str) -> None:
    if len(patterns) > _MOST_PATTERNS:
        raise RepoError(f"this has more than {_MOST_PATTERNS:,} patterns", code="bad-ignore-file", file=file)
