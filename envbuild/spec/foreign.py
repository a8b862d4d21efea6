"""Locks of Poetry, PDM and Pipenv together with the project they were made of."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace

from envbuild.errors import RepoError, UsageError
from envbuild.source import Repo
from envbuild.spec.dependencies import read_dependencies
from envbuild.spec.direct import is_revision
from envbuild.spec.findings import Findings
from envbuild.spec.local import with_local
from envbuild.spec.locked import LockedSet
from envbuild.spec.model import AdoptedKind, PythonRequest, Requirement, SourceRequirement, SpecOptions
from envbuild.spec.pdm_lock import read_pdm_lock
from envbuild.spec.pipfile import check_groups, read_pipfile
from envbuild.spec.pipfile_lock import read_pipfile_lock
from envbuild.spec.poetry_lock import read_poetry_lock
from envbuild.spec.pyproject import Pyproject

__all__ = ["FOREIGN_KINDS", "Foreign", "read_foreign"]

FOREIGN_KINDS: tuple[AdoptedKind, ...] = ("poetry.lock", "pdm.lock", "Pipfile.lock")


@dataclass(frozen=True, slots=True)
class Foreign:
    """A lock, what its project asks for by name, and the Python that both want."""

    lock: LockedSet
    requirements: tuple[Requirement, ...] = ()
    sources: tuple[SourceRequirement, ...] = ()
    python: tuple[PythonRequest, ...] = ()


def read_foreign(
    kind: str,
    path: str,
    *,
    repo: Repo,
    pyproject: Pyproject | None,
    options: SpecOptions,
    findings: Findings,
) -> Foreign:
    """Read the lock ``path`` and its project.

    Parameters:
        kind: one of :data:`FOREIGN_KINDS`.
        pyproject: the one beside the lock, if there is one.

    Raises:
        RepoError: the lock is broken, or is not that of the project as it is now.
        UsageError: ``options`` name an extra or a group that does not exist.
    """
    if kind == "Pipfile.lock":
        return _read_pipenv(path, repo, options, findings)
    if pyproject is None:
        raise RepoError(
            "there is no readable pyproject.toml beside this lock",
            code="bad-lock",
            file=path,
            remedy="add the pyproject.toml that was locked",
        )
    lock = (read_poetry_lock if kind == "poetry.lock" else read_pdm_lock)(repo, path)
    if kind == "poetry.lock":
        pyproject.poetry.check_sources(findings, locked=True)
        hashes = pyproject.poetry.content_hashes()
        if lock.content_hash and hashes and lock.content_hash not in hashes:
            raise _stale(lock, pyproject.path, "poetry lock")
    elif lock.content_hash and pyproject.pdm.content_hash() not in (None, lock.content_hash):
        stale = _stale(lock, pyproject.path, "pdm lock")
        # PDM itself goes on, too; and its versions have not all hashed the same.
        findings.warning(stale.code, stale.message, stale.file, stale.line, stale.remedy)
    dependencies = pyproject.dependencies(options.extras, options.groups, findings, locked=True)
    sources = _pinned(dependencies.sources, lock, repo, findings)
    return Foreign(lock, dependencies.requirements, sources, (lock.python,) if lock.python else ())


def _read_pipenv(path: str, repo: Repo, options: SpecOptions, findings: Findings) -> Foreign:
    lock, sources = read_pipfile_lock(repo, path)
    if options.extras:
        raise UsageError(
            f"extras are selected, but {path} has none", code="unknown-extra", remedy="leave them out"
        )
    beside = posixpath.join(posixpath.dirname(path), "Pipfile")
    if not repo.exists(beside):
        known = {group for package in lock.packages for group in package.groups or ()}
        check_groups(path, options.groups, tuple(sorted(known - {lock.main})))
        return Foreign(lock)
    pipfile = read_pipfile(repo, beside)
    check_groups(beside, options.groups, pipfile.groups)
    pipfile.check_sources(findings, locked=True)
    if lock.content_hash and pipfile.content_hash(sources) not in (None, lock.content_hash):
        raise _stale(lock, beside, "pipenv lock")
    texts = pipfile.dependencies(options.groups, findings, locked=True)
    python = pipfile.python(findings)
    findings.used(beside, "Pipfile", f"its Python, and what was asked for when {path} was made")
    dependencies = read_dependencies(texts, repo, beside, findings)
    sources = _pinned(dependencies.sources, lock, repo, findings)
    return Foreign(lock, dependencies.requirements, sources, (python,) if python else ())


def _pinned(
    sources: tuple[SourceRequirement, ...], lock: LockedSet, repo: Repo, findings: Findings
) -> tuple[SourceRequirement, ...]:
    """``sources`` at the commits, and with the hashes, that the lock has for them."""
    packages = {package.name: package for package in lock.packages if package.elsewhere}
    pinned = []
    for source in with_local(repo, sources, findings)[0]:
        package = packages.get(source.name or "")
        if package is not None and source.kind == "vcs" and is_revision(package.commit):
            pinned.append(replace(source, revision=package.commit))
        elif package is not None and source.kind == "url" and not source.hashes:
            hashes = tuple(sorted(f"sha256:{file.sha256}" for file in package.files))
            pinned.append(replace(source, hashes=hashes))
        else:
            pinned.append(source)
    return tuple(pinned)


def _stale(lock: LockedSet, project: str, command: str) -> RepoError:
    return RepoError(
        f"{project} has changed since this lock was made",
        code="stale-foreign-lock",
        file=lock.path,
        remedy=f"run `{command}`",
    )
