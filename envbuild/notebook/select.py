"""Which notebooks of a repository the user means."""

from __future__ import annotations

from pathlib import Path

from envbuild.errors import UsageError
from envbuild.source import Repo, printable

__all__ = ["select_notebook"]


def select_notebook(repo: Repo, given: str, directory: Path) -> str:
    """The path of the notebook ``given``, relative to ``repo``.

    Parameters:
        given: relative to the repository, or to ``directory`` (as a shell completes it).

    Raises:
        UsageError: there is no such notebook in the repository.
    """
    path = Path(given)
    if not path.is_absolute() and repo.exists(given):
        return path.as_posix()
    inside = (directory / path).absolute()
    if inside.is_relative_to(repo.root):
        relative = inside.relative_to(repo.root).as_posix()
        if repo.exists(relative):
            return relative
    where = repo.origin.url if repo.origin else printable(str(repo.root))
    raise UsageError(
        f"{printable(given)!r} is not in the repository {where}",
        code="no-such-notebook",
        remedy="give the notebook's path relative to the repository",
    )
