"""From the path of a directory to a :class:`Repo`."""

from __future__ import annotations

from pathlib import Path

from envbuild.errors import UsageError
from envbuild.source.repo import Repo
from envbuild.source.text import quote

__all__ = ["open_repo"]


def open_repo(source: str) -> Repo:
    """Open the repository that ``source`` names: the path of a local directory.

    Raises:
        UsageError: ``source`` does not exist, or is not a directory that can be read.
    """
    try:
        root = Path(source).resolve(strict=True)
        if not root.is_dir():
            raise UsageError(
                f"{quote(source)} is not a directory",
                code="source-not-a-directory",
                remedy="give the directory that holds the notebooks",
            )
        return Repo(root)
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no directory {quote(source)}",
            code="source-not-found",
            remedy="give the path of a directory",
        ) from error
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
        reason = error.strerror if isinstance(error, OSError) else "it is a loop of symbolic links"
        raise UsageError(
            f"{quote(source)} cannot be opened: {reason}",
            code="source-unreadable",
            remedy="give a directory you may read",
        ) from error
