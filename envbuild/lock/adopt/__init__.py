"""Locks that repositories already have, taken over as they are: nothing is solved again.

Only names, versions, file names and hashes are believed. Where the files are is asked of the user's own
index: a repository does not decide which servers are talked to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from envbuild.lock.adopt.conda import adopt_conda_wheels, read_locked_conda
from envbuild.lock.adopt.index import Taken, Where
from envbuild.lock.adopt.locked import adopt_locked
from envbuild.lock.adopt.pinned import adopt_requirements
from envbuild.lock.adopt.pylock import adopt_pylock, read_pylock
from envbuild.lock.adopt.uv_lock import export_uv_lock
from envbuild.lock.uv_process import Uv
from envbuild.source.repo import Repo
from envbuild.spec.locked import LockedSet
from envbuild.spec.model import Spec
from envbuild.spec.pdm_lock import read_pdm_lock
from envbuild.spec.pipfile_lock import read_pipfile_lock
from envbuild.spec.poetry_lock import read_poetry_lock

__all__ = ["adopt"]

_MOST_BYTES = 64_000_000
_READERS: dict[str, Callable[[Repo, str], LockedSet]] = {
    "poetry.lock": read_poetry_lock,
    "pdm.lock": read_pdm_lock,
    "Pipfile.lock": lambda repo, path: read_pipfile_lock(repo, path)[0],
}


def adopt(spec: Spec, *, repo: Repo, uv: Uv, python: str, glibc: str, platform: str) -> Taken:
    """What ``spec.adopted`` gives to one target.

    Parameters:
        python: exact version (``3.11.2``).
        glibc: newest manylinux policy (``2.36``).

    Raises:
        RepoError: the lock cannot be read, does not cover the target, names something that no index has,
            or a hash in it is not that of the file in the index.
        RemoteError: the index cannot be reached.
    """
    adopted = spec.adopted
    if adopted is None:
        raise ValueError("there is no lock to adopt")
    where = Where(uv, python, glibc, platform)
    if adopted.kind == "requirements.txt":
        return adopt_requirements(spec.requirements, where)
    if (read := _READERS.get(adopted.kind)) is not None:
        return adopt_locked(read(repo, adopted.path), spec, where)
    if adopted.kind in ("conda-lock.yml", "pixi.lock"):
        return Taken(adopt_conda_wheels(read_locked_conda(repo, adopted), where))
    data = repo.read(adopted.path, _MOST_BYTES)
    if adopted.kind == "uv.lock":
        lock = export_uv_lock(adopted, data, repo, uv)
        adopted = replace(adopted, extras=(), groups=())  # the export has applied them
    else:
        lock = read_pylock(adopted, data)
    return adopt_pylock(lock, adopted, data.decode("utf-8", "replace"), where)
