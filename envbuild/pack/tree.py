"""The repository layer: its files below ``/srv/repo``, with modes that any user can work with."""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Sequence

from envbuild.errors import RepoError
from envbuild.pack import recipe
from envbuild.pack.tar import Entry, directory, file, symlink
from envbuild.source import Repo, RepoFile, printable

__all__ = ["repo_entries"]


def _stays_inside(path: bytes, target: bytes) -> bool:
    if target.startswith(b"/"):
        return False
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return place != b".." and not place.startswith(b"../")


def repo_entries(repo: Repo, files: Sequence[RepoFile]) -> list[Entry]:
    """Entries of the repository layer.

    Parameters:
        files: those of ``repo`` that go into it (:func:`envbuild.source.selection.select`).

    Raises:
        RepoError: a symbolic link leaves the repository, or something is neither file, directory nor link.
    """
    entries = [directory(recipe.REPO_DIR)]
    for item in files:
        place = recipe.REPO_DIR.encode() + b"/" + item.path
        if item.kind == "dir":
            entries.append(Entry(place, "dir", recipe.USER_DIR_MODE, uid=recipe.UID, gid=recipe.GID))
        elif item.kind == "file":
            mode = recipe.USER_EXEC_MODE if item.executable else recipe.USER_FILE_MODE
            content = functools.partial(repo.open_content, item.path, size=item.size)
            entries.append(file(place, content, size=item.size, mode=mode, uid=recipe.UID, gid=recipe.GID))
        elif item.kind == "symlink":
            if not _stays_inside(item.path, item.target):
                raise RepoError(
                    f"the symbolic link points outside of the repository, to {printable(item.target)}",
                    code="symlink-leaves-repo",
                    file=printable(item.path),
                    remedy="replace the link by what it points to, or remove it",
                )
            entries.append(symlink(place, item.target, uid=recipe.UID, gid=recipe.GID))
        else:
            raise RepoError(
                "this is a pipe, socket or device and cannot be put into an image",
                code="special-file",
                file=printable(item.path),
                remedy="remove it from the repository",
            )
    return entries
