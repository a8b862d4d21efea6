"""Projects in the repository that are to be installed: what they are called and what they depend on."""

from __future__ import annotations

import hashlib
import json
import posixpath
from dataclasses import replace
from typing import Literal

from envbuild.errors import RepoError, UsageError
from envbuild.source import Repo
from envbuild.source.text import quote
from envbuild.spec.dependencies import Dependencies
from envbuild.spec.findings import Findings
from envbuild.spec.model import Execution, SourceRequirement
from envbuild.spec.pep508 import canonical_name
from envbuild.spec.pyproject import Pyproject, read_pyproject

__all__ = ["executions", "read_local", "with_local"]

_FILE_LIMIT = 1 << 20
_LEGACY_FILES = ("setup.py", "setup.cfg")


def read_local(
    repo: Repo, source: SourceRequirement, findings: Findings, groups: tuple[str, ...] = ()
) -> tuple[SourceRequirement, Dependencies]:
    """A project in the repository, with its name, and what it depends on unless only its build knows.

    Parameters:
        source: one with :attr:`SourceRequirement.is_project`.
        groups: the dependency groups that are wanted beside it.
    """
    path = _join(source.location, "pyproject.toml")
    pyproject: Pyproject | None = None
    dependencies = Dependencies()
    try:
        if repo.exists(path):
            pyproject = read_pyproject(repo, path)
            pyproject.check_name(findings)
            dependencies = pyproject.dependencies(source.extras, groups, findings)
    except RepoError as error:
        findings.failed(error)
    except UsageError as error:  # an extra that is not there; it is the requirement that names it
        findings.error(error.code, error.message, source.file, source.line, error.remedy)
    dynamic = pyproject is None or pyproject.is_dynamic(extras=bool(source.extras))
    name = pyproject.name if pyproject else None
    if name and source.name not in (None, canonical_name(name)):
        findings.error(
            "name-mismatch", f"this is called {quote(name)}, not {source.name}", source.file, source.line
        )
    digest = hashlib.sha256(json.dumps(pyproject and pyproject.build_table, sort_keys=True).encode())
    for file in ("pyproject.toml", *_LEGACY_FILES) if dynamic else ():
        path = _join(source.location, file)
        try:
            content = repo.read(path, _FILE_LIMIT) if repo.exists(path) else b""
            digest.update(hashlib.sha256(content).digest())
        except RepoError as error:
            findings.failed(error)
    read = replace(
        source,
        name=source.name or (canonical_name(name) if name else None),
        dynamic=dynamic,
        digest="sha256:" + digest.hexdigest(),
    )
    return read, dependencies


def with_local(
    repo: Repo, sources: tuple[SourceRequirement, ...], findings: Findings
) -> tuple[tuple[SourceRequirement, ...], Dependencies]:
    """``sources`` with the projects in the repository read, and all that these depend on."""
    found: list[SourceRequirement] = []
    more: list[Dependencies] = []
    for source in sources:
        if source.is_project:
            local, dependencies = read_local(repo, source, findings)
            found.append(local)
            more.append(dependencies)
        else:
            found.append(source)
    requirements = tuple(dict.fromkeys(one for part in more for one in part.requirements))
    others = tuple(dict.fromkeys(one for part in more for one in part.sources))
    return tuple(dict.fromkeys((*found, *others))), Dependencies(requirements)


def executions(sources: tuple[SourceRequirement, ...], *, network: bool) -> tuple[Execution, ...]:
    """What has to run because of ``sources``, in their order.

    Parameters:
        network: builds may reach the network.
    """
    result: list[Execution] = []

    def add(what: str, why: str, when: Literal["lock", "build"], source: SourceRequirement) -> None:
        result.append(Execution(what, why, when, source.file, source.line, network))

    for source in sources:
        if source.location.lower().endswith(".whl"):
            continue
        shown = source.name or source.location
        if not source.is_project:
            why = {
                "vcs": "a git repository has no wheel",
                "url": "the URL names a source distribution",
                "path": "this is a source distribution",
                "sdist": "--no-binary asks for its source distribution",
            }[source.kind]
            add(f"building {shown} from source", why, "lock", source)
            continue
        if source.dynamic:
            why = "only its build knows what the project depends on"
            add(f"metadata of {shown}", why, "lock", source)
        why = "the project in the repository is installed"
        add(f"building {shown} from source", why, "build", source)
    return tuple(result)


def _join(location: str, name: str) -> str:
    return posixpath.normpath(posixpath.join(location, name))
