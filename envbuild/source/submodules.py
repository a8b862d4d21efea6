"""Submodules of a commit: where they go, which commit they are of, and where they come from."""

from __future__ import annotations

from pathlib import Path

from envbuild.errors import RepoError
from envbuild.source.git_process import Git, GitFailure

__all__ = ["read_addresses"]

_FILE = ".gitmodules"


def read_addresses(git: Git, tree: Path, commit: str) -> dict[str, str]:
    """What ``.gitmodules`` of ``commit`` says: path of a submodule -> its address as written.

    Raises:
        RepoError: it cannot be read.
    """
    try:
        listing = git.output("config", "-z", "--blob", f"{commit}:{_FILE}", "--list", directory=tree)
    except GitFailure as error:
        raise RepoError(
            "this cannot be read, and there are submodules", code="bad-gitmodules", file=_FILE
        ) from error
    values: dict[str, dict[str, str]] = {}
    for item in listing.decode("utf-8", "surrogateescape").split("\0"):
        key, _, value = item.partition("\n")
        section, _, rest = key.partition(".")
        name, _, variable = rest.rpartition(".")
        if section == "submodule":
            values.setdefault(name, {})[variable] = value
    return {entry["path"]: entry["url"] for entry in values.values() if {"path", "url"} <= entry.keys()}
