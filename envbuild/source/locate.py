"""From the SOURCE a user typed to a :class:`Repo`."""

from __future__ import annotations

import re
from pathlib import Path

from envbuild.errors import UsageError
from envbuild.source.repo import Repo
from envbuild.source.text import printable, quote

__all__ = ["open_repo"]

# scheme://…, scp-like git addresses (user@host:path), DOIs with and without their prefix.
_REMOTE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://|[\w.-]+@[\w.-]+:|doi:|10\.\d{4,9}/", re.IGNORECASE)


def open_repo(source: str) -> Repo:
    """Open the repository that ``source`` names: the path of a local directory.

    Raises:
        UsageError: ``source`` is a URL or a DOI (not supported yet), looks like an option, does not
            exist, or is not a directory that can be read.
    """
    if _REMOTE.match(source) and not _is_directory(source):
        raise UsageError(
            f"{quote(source)} is a remote source, and only local directories are supported yet",
            code="source-not-supported",
            remedy="clone or download it, then give the directory",
        )
    if source.startswith("-"):
        raise UsageError(
            f"{quote(source)} looks like an option, not like a directory",
            code="bad-source",
            remedy=f"write ./{printable(source)} if there is such a directory",
        )
    if not source or "\0" in source:
        raise UsageError("the source is not a path", code="bad-source", remedy="give the path of a directory")
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


def _is_directory(source: str) -> bool:
    """Whether there is such a directory after all; unlike :meth:`Path.is_dir`, never an exception."""
    try:
        return Path(source).is_dir()
    except OSError:  # a name that is too long
        return False
