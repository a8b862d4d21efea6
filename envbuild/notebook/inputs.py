"""The data files that a repository declares as inputs of its notebooks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

from envbuild.errors import RepoError, UsageError
from envbuild.progress import Reporter
from envbuild.source import Repo, RepoFile
from envbuild.source.patterns import Pattern, setting_pattern

__all__ = ["hash_inputs"]

_MOST_FILES = 10_000


def hash_inputs(repo: Repo, patterns: Sequence[str], reporter: Reporter) -> dict[str, str]:
    """Path (for people) -> ``sha256:...`` of every file of ``repo`` that one of ``patterns`` is about.

    Patterns are those of ``.gitignore``; one that is about a directory is about everything in it. Files that
    are links are left out.

    Raises:
        UsageError: something is not a pattern.
        RepoError: there are too many such files, or one cannot be read.
    """
    if not patterns:
        return {}
    known = {text: _pattern(text) for text in patterns}
    files = [file for file in repo.files() if file.kind == "file"]
    wanted: dict[bytes, RepoFile] = {}
    for text, pattern in known.items():
        found = [file for file in files if _is_about(pattern, file)]
        if not found:
            reporter.warn(f"inputs: no file fits {text!r}")
        wanted |= {file.path: file for file in found}
    if len(wanted) > _MOST_FILES:
        raise RepoError(
            f"{len(wanted):,} files are inputs, which is more than {_MOST_FILES:,}",
            code="too-many-inputs",
            remedy="declare fewer in `inputs`, or put the files into an archive",
        )
    digests = {}
    with reporter.stage("inputs") as stage:
        stage.add_total(sum(file.size for file in wanted.values()))
        for path in sorted(wanted):
            hashed = hashlib.sha256()
            for chunk in repo.open_content(path):
                hashed.update(chunk)
                stage.advance(len(chunk))
            digests[wanted[path].name] = f"sha256:{hashed.hexdigest()}"
    return digests


def _pattern(text: str) -> Pattern:
    try:
        return setting_pattern(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} {error}", code="bad-pattern", remedy="write it as in .gitignore, without !"
        ) from error


def _is_about(pattern: Pattern, file: RepoFile) -> bool:
    parts = tuple(os.fsdecode(file.path).encode("utf-8", "surrogateescape").decode("latin-1").split("/"))
    return any(
        pattern.matches(parts[:depth]) and (depth < len(parts) or not pattern.directory)
        for depth in range(1, len(parts) + 1)
    )
