"""Which of a repository's files go into its image, and why the others do not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from envbuild.progress import Reporter
from envbuild.source.ignore import DockerIgnore, GitIgnore
from envbuild.source.patterns import Pattern
from envbuild.source.repo import Repo, RepoFile
from envbuild.source.secrets import credential_in
from envbuild.source.text import printable

__all__ = ["LARGE_DIRECTORY_BYTES", "LARGE_FILE_BYTES", "LeftOut", "Selection", "select", "tell"]

LARGE_FILE_BYTES = 50 * 10**6
LARGE_DIRECTORY_BYTES = 200 * 10**6
_NAMED = 5

Cause = Literal["setting", "built-in", "credential", "dockerignore", "gitignore"]

_BUILT_IN = {
    b".git": "git's own directory",
    b".ipynb_checkpoints": "copies that Jupyter makes",
    b"__pycache__": "compiled modules",
}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file, or a directory with all that is in it, that is not in the image: printable ``path`` and why."""

    path: str
    cause: Cause
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """``files`` that go into the image, in the repository's order, and what was ``left_out``.

    ``large`` are files and directories (with a final ``/``) that make it large: printable path -> bytes.
    ``by_pattern_only`` tells that ``.gitignore`` was followed without knowing what git tracks.
    """

    files: tuple[RepoFile, ...]
    left_out: tuple[LeftOut, ...]
    large: dict[str, int]
    by_pattern_only: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def select(repo: Repo) -> Selection:
    """Decide about every file of ``repo``. The first of these that has an opinion counts:

    ``include`` and ``exclude`` of the settings; what is never wanted (``.git``, caches, virtual
    environments); what looks like credentials; ``.dockerignore``; ``.gitignore`` for files that git does not
    track.

    Raises:
        RepoError: an ignore file is wrong, or the tree cannot be walked.
    """
    files = repo.files(everything=bool(repo.include))
    decide = _Rules(repo, files)
    kept: list[RepoFile] = []
    left_out: dict[bytes, LeftOut] = {}
    for file in files:
        found = decide.about(file)
        if found is None:
            kept.append(file)
        else:
            left_out[file.path] = LeftOut(printable(file.path), *found)
    kept = _with_directories(files, kept, left_out)
    return Selection(
        tuple(kept),
        tuple(entry for path, entry in left_out.items() if path.rpartition(b"/")[0] not in left_out),
        _large(kept),
        decide.git is not None and decide.git.tracked is None,
    )


def tell(selection: Selection, reporter: Reporter) -> None:
    """Say what people should know about ``selection`` when an image is made of it."""
    secret = [f"{entry.path} ({entry.reason})" for entry in selection.left_out if entry.cause == "credential"]
    if secret:
        reporter.warn(f"left out of the image: {_few(secret)}; the setting `include` takes files in")
    ignored = [entry.path for entry in selection.left_out if entry.cause in ("dockerignore", "gitignore")]
    if ignored:
        reporter.note(f"left out of the image, because it is ignored: {_few(ignored)}")
    if selection.by_pattern_only and ignored:
        reporter.note("which files git tracks is not known here: .gitignore was followed to the letter")
    large = [f"{path} ({size / 1e6:,.0f} MB)" for path, size in selection.large.items()]
    if large:
        reporter.note(f"large, in the image: {_few(large)}; the setting `exclude` leaves files out")


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


class _Rules:
    def __init__(self, repo: Repo, files: Sequence[RepoFile]) -> None:
        self._repo = repo
        self._docker = DockerIgnore.read(repo)
        self.git = GitIgnore.read(repo, files)
        self._environments = {
            file.path.rpartition(b"/")[0] for file in files if file.path.endswith(b"/pyvenv.cfg")
        }

    def about(self, file: RepoFile) -> tuple[Cause, str] | None:
        """``(cause, reason)`` to leave ``file`` out, None to keep it."""
        # Asked about every file, because it remembers the directories that are ignored.
        by_git = self.git is not None and self.git.ignores(file)
        parts = tuple(file.path.decode("latin-1").split("/"))
        if _fits(self._repo.include, parts, file):
            return None
        if _fits(self._repo.exclude, parts, file):
            return "setting", "exclude says so"
        for part in file.path.split(b"/"):
            if part in _BUILT_IN:
                return "built-in", _BUILT_IN[part]
        if any(file.path == place or file.path.startswith(place + b"/") for place in self._environments):
            return "built-in", "a virtual environment"
        if file.kind == "file" and (what := credential_in(self._repo, file)) is not None:
            return "credential", f"looks like {what}"
        if self._docker is not None and self._docker.ignores(file.path):
            return "dockerignore", f"{self._docker.file} says so"
        return ("gitignore", "git ignores it") if by_git else None


def _fits(patterns: Sequence[Pattern], parts: tuple[str, ...], file: RepoFile) -> bool:
    """Whether one of ``patterns`` is about ``file`` or a directory it is in."""
    for pattern in patterns:
        for depth in range(1, len(parts) + 1):
            is_directory = depth < len(parts) or file.kind == "dir"
            if (is_directory or not pattern.directory) and pattern.matches(parts[:depth]):
                return True
    return False


def _with_directories(
    files: Sequence[RepoFile], kept: Sequence[RepoFile], left_out: dict[bytes, LeftOut]
) -> list[RepoFile]:
    """``kept`` with the directories that hold something kept; these are not left out after all."""
    needed = set()
    for file in kept:
        place = file.path
        while (cut := place.rfind(b"/")) > 0 and (place := place[:cut]) not in needed:
            needed.add(place)
    chosen = {file.path for file in kept} | needed
    for path in needed:
        left_out.pop(path, None)
    return [file for file in files if file.path in chosen]


def _large(files: Sequence[RepoFile]) -> dict[str, int]:
    """Large files, and of the directories that are large the innermost."""
    found = {printable(file.path): file.size for file in files if file.size >= LARGE_FILE_BYTES}
    totals: dict[bytes, int] = {}
    for file in files:
        place = os.path.dirname(file.path)  # noqa: PTH120
        while place and file.size:
            totals[place] = totals.get(place, 0) + file.size
            place = os.path.dirname(place)  # noqa: PTH120
    large = {place: size for place, size in totals.items() if size >= LARGE_DIRECTORY_BYTES}
    for place in sorted(large):
        if not any(other.startswith(place + b"/") for other in large):
            found[printable(place) + "/"] = large[place]
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
