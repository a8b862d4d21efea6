"""What rules know beside one notebook: the repository, what it asks for, what is locked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from envbuild.check.provided import Provided
from envbuild.contents.modules import Modules
from envbuild.errors import RepoError
from envbuild.lock.ensure import read_lock, stale_reasons
from envbuild.lock.model import CondaPackage, Lock, Wheel
from envbuild.source import Repo, RepoFile
from envbuild.spec import Spec
from envbuild.store import Store

__all__ = ["Context", "make_context"]


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of every rule.

    ``lock`` is the repository's, fresh or not; None when there is none or it cannot be read (``lock_error``).
    ``stale`` says why it is not fresh. ``provided`` tells what can be imported.
    """

    repo: Repo
    files: tuple[RepoFile, ...]
    spec: Spec
    lock: Lock | None
    lock_error: RepoError | None
    stale: tuple[str, ...]
    provided: Provided

    @property
    def is_locked(self) -> bool:
        """Whether envbuild locks this repository at all: a Dockerfile describes its image itself."""
        return self.spec.engine_build is None

    @property
    def python(self) -> str | None:
        """The Python that is locked (``3.11.2``), None when none is."""
        if self.lock is None:
            return None
        conda = [target.conda_python for target in self.lock.targets]
        return next((version for version in conda if version), self.lock.base.python)

    @property
    def declared_in(self) -> str:
        """The file a package is added to, for remedies."""
        if self.spec.conda is not None:
            return self.spec.conda.file
        return next((item.file for item in self.spec.requirements if item.line), "requirements.txt")


def make_context(
    repo: Repo,
    spec: Spec,
    *,
    store: Store,
    platforms: Sequence[str],
    modules: Callable[[Lock], Modules],
) -> Context:
    """The surroundings in which ``repo`` is checked.

    Parameters:
        platforms: those the lock must have; the environment of the first one is looked at.
        modules: what tells what is in the locked packages.
    """
    error, found, stale = None, None, []
    try:
        found = read_lock(repo, store)
        if found is not None:
            stale = stale_reasons(found, spec, repo, platforms)
    except RepoError as caught:
        error = caught
    lock = found.lock if found is not None else None
    files = repo.files()
    packages: tuple[Wheel | CondaPackage, ...] = ()
    targets = {target.platform: target for target in lock.targets} if lock is not None else {}
    if lock is not None and targets:
        target = targets.get(platforms[0], next(iter(targets.values())))
        packages = (*target.conda, *target.wheels)
    provided = Provided(spec, files, packages, modules(lock) if lock is not None else None)
    return Context(repo, files, spec, lock, error, tuple(stale), provided)
