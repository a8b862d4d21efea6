"""Changes of a notebook file that leave everything else in it as it is, byte for byte."""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from envbuild.errors import RepoError
from envbuild.source import Repo, RepoFile
from envbuild.store.disk import write_atomic

__all__ = ["Edit", "apply", "difference", "write"]


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """Replace the bytes from ``start`` to ``end`` of a file with ``text``."""

    start: int
    end: int
    text: bytes


def apply(data: bytes, edits: Iterable[Edit]) -> bytes:
    """``data`` with ``edits`` made; of two that overlap, the first one.

    >>> apply(b"abcdef", [Edit(1, 2, b"BB"), Edit(4, 4, b"-")])
    b'aBBcd-ef'
    """
    parts, position = [], 0
    for edit in sorted(set(edits)):
        if edit.start >= position:
            parts += [data[position : edit.start], edit.text]
            position = edit.end
    return b"".join([*parts, data[position:]])


def difference(path: str, before: bytes, after: bytes) -> Iterator[str]:
    """The lines that change, as a unified diff without context (there may be secrets in what is around)."""
    old, new = (data.decode("utf-8", "replace").splitlines() for data in (before, after))
    yield from difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", n=0, lineterm="")


def write(repo: Repo, file: RepoFile, before: bytes, after: bytes) -> None:
    """Replace a file of the repository, whose bytes were ``before``, in one step; its permissions stay.

    Raises:
        RepoError: somebody else has changed it meanwhile, or it cannot be written.
    """
    path = repo.root / os.fsdecode(file.path)
    if repo.read(os.fsdecode(file.path), len(before) + 1) != before:
        raise RepoError(
            "this changed while it was checked",
            code="changed-while-reading",
            file=file.name,
            remedy="save it in Jupyter, close it there, and try again",
        )
    try:
        write_atomic(path, after, mode=stat.S_IMODE(path.stat().st_mode))
    except OSError as error:
        raise RepoError(
            f"this cannot be written: {error.strerror}",
            code="file-not-writable",
            file=file.name,
            remedy="check its permissions and those of its directory",
        ) from error
