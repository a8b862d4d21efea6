"""Making an image's kernels ready to be started."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild.launch.kernels import find_kernels
from envbuild.launch.place import NOTEBOOKS
from envbuild.launch.prepared import Prepared, lock_digest, write_prepared
from envbuild.launch.program import EXCHANGE
from envbuild.pack import recipe

if TYPE_CHECKING:
    from envbuild.engine import Bubblewrap, Engine
    from envbuild.image.model import Image
    from envbuild.store import Store

__all__ = ["prepare_kernels"]


def prepare_kernels(
    image: Image,
    repository: Path,
    project: str,
    key: str,
    *,
    engine: Engine,
    bubblewrap: Bubblewrap,
    store: Store,
) -> Prepared:
    """Ask ``image`` for its kernels, and keep under ``key`` what starting them takes.

    Parameters:
        repository: the directory that they will see.
        project: its name (see :func:`envbuild.launch.kernels.find_kernels`).
        engine: what the image was prepared with.
        bubblewrap: the engine that starts processes at once, if ``engine`` is that one.

    Raises:
        RepoError: the image has no kernel, or a link where something is mounted.
        MachineError: the engine fails.
    """
    # Before anything that takes time: a lock that changes meanwhile is not the one of this image.
    lock = lock_digest(repository)
    kernels = find_kernels(image, project, engine=engine, store=store)
    targets = (f"/{recipe.REPO_DIR}", NOTEBOOKS, EXCHANGE)
    prepared = Prepared(
        project,
        repository,
        lock,
        engine.name,
        asdict(image),
        bubblewrap.unpacked(image, targets) if engine.name == bubblewrap.name else None,
        kernels,
    )
    write_prepared(store, key, prepared)
    return prepared
