"""Where people work on a source that was fetched: a copy of theirs, which is kept."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from pathlib import Path

import platformdirs

from envbuild.errors import MachineError
from envbuild.source.repo import Repo

__all__ = ["working_directory"]

_SHOWN = 12


def working_directory(repo: Repo) -> tuple[Path, bool]:
    """``(directory, whether it is a copy)`` in which the files of ``repo`` may be changed.

    The user's own directory is that itself. For everything else it is a copy below the user's data directory
    (``~/.local/share/envbuild/copies`` on Linux): one for every address and revision, made when there is
    none, and never touched again.

    Raises:
        MachineError: the copy cannot be written.
    """
    origin = repo.origin
    if origin is None:
        return repo.root, False
    copies = Path(platformdirs.user_data_dir("envbuild", appauthor=False)) / "copies"
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", origin.name).strip(".-") or "repository"
    identity = f"{origin.url} {origin.revision} {origin.subdirectory}"
    place = copies / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:_SHOWN]}"
    if place.is_dir():
        return place, True
    try:
        copies.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=copies))
        try:
            shutil.copytree(repo.root, scratch / "files", symlinks=True)
            (scratch / "files").rename(place)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except (OSError, shutil.Error) as error:
        raise MachineError(
            f"the copy to work on cannot be made in {copies}",
            code="copy-not-writable",
            remedy="set XDG_DATA_HOME to a directory you own, or clone the repository yourself",
        ) from error
    return place, True
