"""Locks that repositories already have, taken over as they are: nothing is solved again.

Only names, versions, file names and hashes are believed. Where the files are is asked of the user's own
index: a repository does not decide which servers are talked to.
"""

from __future__ import annotations

from dataclasses import replace

from envbuild.lock.adopt.hashed import adopt_requirements
from envbuild.lock.adopt.index import Where
from envbuild.lock.adopt.pylock import adopt_pylock, read_pylock
from envbuild.lock.adopt.uv_lock import export_uv_lock
from envbuild.lock.select import Pin
from envbuild.lock.uv_process import Uv
from envbuild.source.repo import Repo
from envbuild.spec.model import Spec

__all__ = ["adopt"]

_MOST_BYTES = 64_000_000


def adopt(spec: Spec, *, repo: Repo, uv: Uv, python: str, glibc: str, platform: str) -> tuple[Pin, ...]:
    """The pins of ``spec.adopted`` for one target, sorted by name.

    Parameters:
        python: exact version (``3.11.2``).
        glibc: newest manylinux policy (``2.36``).

    Raises:
        RepoError: the lock cannot be read, does not cover the target, names something that is not a wheel,
            or a hash in it is not that of the file in the index.
        RemoteError: the index cannot be reached.
    """
    adopted = spec.adopted
    if adopted is None:
        raise ValueError("there is no lock to adopt")
    where = Where(uv, python, glibc, platform)
    if adopted.kind == "requirements.txt":
        return adopt_requirements(spec.requirements, where)
    data = repo.read(adopted.path, _MOST_BYTES)
    if adopted.kind == "uv.lock":
        lock = export_uv_lock(adopted, data, repo, uv)
        adopted = replace(adopted, extras=(), groups=())  # the export has applied them
    else:
        lock = read_pylock(adopted, data)
    return adopt_pylock(lock, adopted, data.decode("utf-8", "replace"), where)
