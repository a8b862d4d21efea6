"""Build contexts: what of a repository is sent to the engine, as a tar with nothing of this machine in it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from envbuild.pack import recipe
from envbuild.pack.tar import Entry, complete, write_tar
from envbuild.pack.tree import repo_entries
from envbuild.source import Repo
from envbuild.source.patterns import setting_pattern
from envbuild.source.selection import select

__all__ = ["Context", "digest", "files_of", "write_context", "write_files"]


# What an engine builds from is sent to it even if it is not to be in the image.
_NEEDED = ("/Dockerfile", "/binder/*", "/.binder/*")


@dataclass(frozen=True, slots=True)
class Context:
    """A build context in the tar file ``archive``; ``dockerfile`` is a path in it."""

    archive: Path
    dockerfile: str
    arguments: dict[str, str] = field(default_factory=dict)


def files_of(repo: Repo) -> list[Entry]:
    """What of ``repo`` goes into an image, with paths relative to its root.

    Raises:
        RepoError: as :func:`envbuild.pack.tree.repo_entries`.
    """
    prefix = f"{recipe.REPO_DIR}/".encode()
    needed = replace(repo, include=(*repo.include, *map(setting_pattern, _NEEDED)))
    return complete(
        replace(entry, path=entry.path.removeprefix(prefix))
        for entry in repo_entries(repo, select(needed).files)
        if entry.path.startswith(prefix)
    )


def digest(entries: Sequence[Entry]) -> str:
    """The sha256 (hex) of ``entries`` as a tar: what an engine gets to see."""
    hashed = hashlib.sha256()

    class Hash:
        def write(self, data: bytes, /) -> None:
            hashed.update(data)

    write_tar(entries, Hash())
    return hashed.hexdigest()


def write_context(entries: Sequence[Entry], archive: Path) -> None:
    """Write ``entries`` as the tar file ``archive``."""
    with archive.open("wb") as stream:
        write_tar(entries, stream)


def write_files(entries: Sequence[Entry], directory: Path) -> None:
    """Make ``directory``, which is empty, hold ``entries``: a copy in which nothing leads elsewhere."""
    for entry in entries:
        path = os.fsencode(directory) + b"/" + entry.path
        match entry.kind:
            case "dir":
                os.mkdir(path)  # noqa: PTH102  # names in repositories are bytes, which pathlib does not take
            case "symlink":
                os.symlink(entry.target, path)  # noqa: PTH211
            case "file":
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                    for chunk in entry.chunks():
                        stream.write(chunk)
                os.chmod(path, entry.mode)  # noqa: PTH101
