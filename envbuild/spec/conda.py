"""The files that ask conda for an environment, or hold one locked, as :class:`CondaDeclared`."""

from __future__ import annotations

from dataclasses import dataclass

from envbuild.errors import RepoError, UsageError
from envbuild.source import Repo
from envbuild.spec.conda_lock_yml import read_conda_lock
from envbuild.spec.conda_locked import LockedConda, python_of
from envbuild.spec.environment_yml import CondaEnvironment, read_environment_yml
from envbuild.spec.findings import Findings
from envbuild.spec.local import with_local
from envbuild.spec.match_spec import name_of
from envbuild.spec.model import (
    Adopted,
    CondaRequest,
    PythonRequest,
    Requirement,
    SourceRequirement,
    SpecOptions,
)
from envbuild.spec.pep508 import canonical_name, parse_requirement
from envbuild.spec.pixi_lock import read_pixi_lock
from envbuild.spec.pixi_toml import read_pixi
from envbuild.spec.pyproject import Pyproject
from envbuild.spec.toml_file import parse_toml

__all__ = ["CondaDeclared", "read_conda"]

_PIXI_LIMIT = 4 << 20


@dataclass(frozen=True, slots=True)
class CondaDeclared:
    """What one file asks for; the fields as in :class:`~envbuild.spec.declared.Declared`."""

    request: CondaRequest
    packages: frozenset[str]
    python: PythonRequest | None
    name: str | None = None
    requirements: tuple[Requirement, ...] = ()
    constraints: tuple[Requirement, ...] = ()
    sources: tuple[SourceRequirement, ...] = ()
    adopted: Adopted | None = None


def read_conda(
    kind: str,
    repo: Repo,
    path: str,
    options: SpecOptions,
    findings: Findings,
    project: Pyproject | None = None,
) -> CondaDeclared | None:
    """Read a file of ``kind``; None when it cannot be read, which ``findings`` then say.

    Parameters:
        project: the ``pyproject.toml`` that ``path`` is, when ``kind`` is that: it holds ``[tool.pixi]``.

    Raises:
        UsageError: ``options`` select what the file does not have.
    """
    try:
        if kind == "conda-lock.yml":
            lock = read_conda_lock(repo, path, (*options.extras, *options.groups))
            return _locked(
                repo, lock, Adopted("conda-lock.yml", path, options.extras, options.groups), findings
            )
        if kind == "pixi.lock":
            lock = read_pixi_lock(repo, path, _pixi_environment(options))
            return _locked(repo, lock, Adopted("pixi.lock", path, groups=options.groups), findings)
        if kind == "environment.yml":
            return _asked(repo, path, kind, read_environment_yml(repo, path, findings), findings)
        file = parse_toml(repo, path, _PIXI_LIMIT)
        table = file.data if project is None else file.data["tool"]["pixi"]
        environment = read_pixi(repo, path, file, table, findings)
        if project is not None:
            dependencies = project.dependencies(options.extras, options.groups, findings)
            environment.pip.requirements += dependencies.requirements
            environment.pip.sources += dependencies.sources
        return _asked(repo, path, kind, environment, findings)
    except RepoError as error:
        findings.failed(error)
        return None


def _pixi_environment(options: SpecOptions) -> str:
    if len(options.groups) > 1 or options.extras:
        raise UsageError(
            "a pixi.lock has environments, of which one is used",
            code="unknown-extra",
            remedy="name one, with --group",
        )
    return options.groups[0] if options.groups else "default"


def _locked(repo: Repo, lock: LockedConda, adopted: Adopted, findings: Findings) -> CondaDeclared:
    findings.used(adopted.path, adopted.kind, "declares the environment; taken over without solving again")
    sources, _ = with_local(repo, lock.sources, findings)
    request = CondaRequest(lock.path, lock.channels, ())
    return CondaDeclared(request, lock.names, python_of(lock), sources=sources, adopted=adopted)


def _asked(
    repo: Repo, path: str, kind: str, environment: CondaEnvironment, findings: Findings
) -> CondaDeclared:
    findings.used(path, kind, "declares the environment")
    pip = environment.pip
    for included in pip.included:
        findings.used(included, "requirements.txt", f"included by {path}")
    sources, more = with_local(repo, tuple(pip.sources), findings)
    requirements = tuple(dict.fromkeys((*pip.requirements, *more.requirements)))
    parsed = (parse_requirement(requirement.text) for requirement in requirements)
    names = {item.name for item in parsed if item is not None}
    names |= {canonical_name(name_of(package.text)) for package in environment.packages}
    return CondaDeclared(
        environment.request,
        frozenset(names),
        environment.python,
        environment.name,
        requirements,
        tuple(pip.constraints),
        sources,
    )
