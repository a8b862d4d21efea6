"""The wheels of a ``conda-lock.yml`` or ``pixi.lock``."""

from __future__ import annotations

from packaging.pylock import PackageWheel

from envbuild.lock.adopt.index import Where, ask_index, find
from envbuild.lock.select import Pin
from envbuild.source import Repo
from envbuild.spec.conda_lock_yml import read_conda_lock
from envbuild.spec.conda_locked import LockedConda
from envbuild.spec.model import Adopted, Requirement
from envbuild.spec.pixi_lock import read_pixi_lock

__all__ = ["adopt_conda_wheels", "read_locked_conda"]


def read_locked_conda(repo: Repo, adopted: Adopted) -> LockedConda:
    """The lock that is taken over.

    Raises:
        RepoError: it cannot be read.
    """
    if adopted.kind == "pixi.lock":
        return read_pixi_lock(repo, adopted.path, *adopted.groups[:1])
    return read_conda_lock(repo, adopted.path, (*adopted.extras, *adopted.groups))


def adopt_conda_wheels(lock: LockedConda, where: Where) -> tuple[Pin, ...]:
    """The pins of ``lock`` that are wheels, sorted by name.

    Raises:
        RepoError: the index does not have one, or has another file of that name.
    """
    wheels = sorted(lock.wheels.get(where.platform, ()), key=lambda wheel: wheel.name)
    asked = [Requirement(f"{wheel.name}=={wheel.version}", lock.path, wheel.line) for wheel in wheels]
    offered = ask_index(asked, where)
    return tuple(
        find(
            PackageWheel(name=wheel.filename, path=wheel.filename, hashes={"sha256": wheel.sha256}),
            place,
            offered.get(wheel.name),
            where,
        )
        for wheel, place in zip(wheels, asked, strict=True)
    )
