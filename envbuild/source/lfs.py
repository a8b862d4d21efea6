"""Files that a git repository keeps elsewhere (git LFS): found by their pointers, fetched by ``git-lfs``.

Follows version 1 of its specification of pointer files (https://git-lfs.github.com/spec/v1).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from envbuild.source.git_process import FETCH_SECONDS, Git

__all__ = ["MOST_POINTER_BYTES", "fetch_objects", "find_pointers", "has_lfs"]

MOST_POINTER_BYTES = 1024
_FIRST_LINE = b"version https://git-lfs.github.com/spec/v1\n"


def has_lfs(environment: Mapping[str, str]) -> bool:
    """Whether ``git-lfs`` is installed."""
    return shutil.which("git-lfs", path=environment.get("PATH")) is not None


def find_pointers(tree: Path, candidates: Iterable[bytes]) -> tuple[bytes, ...]:
    """Those of ``candidates`` (small regular files below ``tree``) that only point to their content."""
    found = []
    for path in candidates:
        handle = os.open(os.path.join(os.fsencode(tree), path), os.O_RDONLY | os.O_NOFOLLOW)  # noqa: PTH118
        try:
            if os.read(handle, len(_FIRST_LINE)) == _FIRST_LINE:
                found.append(path)
        finally:
            os.close(handle)
    return tuple(found)


def fetch_objects(git: Git, tree: Path, commit: str) -> None:
    """Replace the pointers in the work tree by what they point to, from the server of the repository.

    What ``.lfsconfig`` says about servers does not count: a repository does not choose whom we talk to.

    Raises:
        GitFailure: an object cannot be had.
    """
    url = git.address.url
    if git.address.scheme in ("http", "https"):
        url = url.rstrip("/").removesuffix(".git") + ".git/info/lfs"
    settings = (
        ("lfs.url", url),
        ("lfs.fetchinclude", ""),
        ("lfs.fetchexclude", ""),
        ("filter.lfs.clean", "git-lfs clean -- %f"),
        ("filter.lfs.smudge", "git-lfs smudge -- %f"),
        ("filter.lfs.process", "git-lfs filter-process"),
        ("filter.lfs.required", "true"),
    )
    for key, value in settings:
        git.output("config", "--local", key, value, directory=tree)
    git.output("lfs", "fetch", "origin", commit, directory=tree, seconds=FETCH_SECONDS)
    git.output("lfs", "checkout", directory=tree, seconds=FETCH_SECONDS)
