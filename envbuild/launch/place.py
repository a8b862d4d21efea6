"""Where a kernel works, and what of this machine it sees: the repository and its notebook's directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from envbuild.engine.model import Mount
from envbuild.pack import recipe

__all__ = ["NOTEBOOKS", "Place", "find_place"]

NOTEBOOKS = "/srv/notebooks"
"""Where the directory of a notebook that is not in the repository is seen."""

_REPOSITORY = f"/{recipe.REPO_DIR}"


@dataclass(frozen=True, slots=True)
class Place:
    """``workdir`` is where the kernel starts; ``mounts`` what it sees; ``note`` what the user should know."""

    workdir: str
    mounts: tuple[Mount, ...]
    note: str | None = None


def find_place(directory: Path | None, repository: Path, home: Path) -> Place:
    """The place for a kernel that an application starts in ``directory``, which is its notebook's.

    A directory in the repository is that directory in the image. Another one is mounted at :data:`NOTEBOOKS`,
    unless that would show the kernel the user's home or all of the machine: then it starts in the repository.

    Parameters:
        directory: absolute; None when it is gone.
        home: the user's home directory.

    >>> find_place(Path("/home/me/work/a"), Path("/home/me/work"), Path("/home/me")).workdir
    '/srv/repo/a'
    >>> find_place(Path("/data"), Path("/home/me/work"), Path("/home/me")).workdir
    '/srv/notebooks'
    >>> find_place(Path("/home"), Path("/home/me/work"), Path("/home/me")).workdir
    '/srv/repo'
    """
    directory = directory and directory.resolve()
    repository = repository.resolve()
    always = Mount(repository, _REPOSITORY, writable=True)
    if directory is None:
        return Place(_REPOSITORY, (always,), "the notebook's directory is gone; starting in the repository")
    if directory.is_relative_to(repository):
        return Place(str(Path(_REPOSITORY) / directory.relative_to(repository)), (always,))
    if home.resolve().is_relative_to(directory):
        return Place(
            _REPOSITORY,
            (always,),
            f"{directory} is not shown to the kernel, which starts in the repository;"
            " for relative paths, keep the notebook in a directory of its own",
        )
    return Place(NOTEBOOKS, (always, Mount(directory, NOTEBOOKS, writable=True)))
