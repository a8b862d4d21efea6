"""What the dependency files declare: the winner is read, the others are named with the reason."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from envbuild.errors import RepoError, UsageError
from envbuild.source import Repo, printable
from envbuild.source.text import quote
from envbuild.spec.dependencies import Dependencies, read_dependencies
from envbuild.spec.detection import CONDA_KINDS, DEAD_KINDS, DEPENDENCY_KINDS, Listing
from envbuild.spec.engine_build import find_binder_dockerfile, find_repo2docker, find_root_dockerfile
from envbuild.spec.findings import Findings
from envbuild.spec.foreign import FOREIGN_KINDS, read_foreign
from envbuild.spec.local import read_local, with_local
from envbuild.spec.locks import ForeignLock, read_pylock, read_uv_lock
from envbuild.spec.model import (
    Adopted,
    AdoptedKind,
    CondaRequest,
    EngineBuild,
    PythonRequest,
    Requirement,
    SourceRequirement,
    SpecOptions,
)
from envbuild.spec.pep508 import parse_requirement
from envbuild.spec.pipfile import check_groups, read_pipfile
from envbuild.spec.pyproject import Pyproject, read_pyproject
from envbuild.spec.requirements import Requirements, read_requirements

__all__ = ["Declared", "read_declared"]

_SETUP_CFG_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Declared:
    """What the files say. ``winner`` is the path that declares the dependencies, None when none does.

    ``packages`` are the canonical names that the winner declares or locks; None when it could not be read.
    """

    winner: str | None = None
    project_name: str | None = None
    requirements: tuple[Requirement, ...] = ()
    constraints: tuple[Requirement, ...] = ()
    sources: tuple[SourceRequirement, ...] = ()
    adopted: Adopted | None = None
    python: tuple[PythonRequest, ...] = ()
    packages: frozenset[str] | None = None
    engine_build: EngineBuild | None = None
    conda: CondaRequest | None = None


def read_declared(repo: Repo, listing: Listing, options: SpecOptions, findings: Findings) -> Declared:
    """Read the dependency files of ``listing``; every file of a known kind ends up in ``findings``.

    Raises:
        UsageError: ``options`` name an extra or a group that does not exist, or a bad requirement.
    """
    build = find_binder_dockerfile(listing, findings) or find_repo2docker(repo, listing, findings)
    if build is not None:
        return Declared(build.path, engine_build=build)
    reader = _Reader(repo, listing, options, findings)
    declared = reader.read()
    for kind, names in DEAD_KINDS:
        for path in listing.find(names):
            if declared.winner is None or listing.directory:
                findings.not_supported(path, kind)
            else:
                findings.ignored(path, kind, f"{declared.winner} declares the environment")
    if dockerfile := find_root_dockerfile(listing, declared.winner, findings):
        return Declared(dockerfile.path, declared.project_name, engine_build=dockerfile)
    for path in listing.other_requirements:
        findings.ignored(
            path, "requirements.txt", "only requirements.txt, requirements.in and what they include are read"
        )
    return declared


class _Reader:
    """The walk through the dependency files, in order of precedence."""

    def __init__(self, repo: Repo, listing: Listing, options: SpecOptions, findings: Findings) -> None:
        self._repo = repo
        self._listing = listing
        self._options = options
        self._findings = findings
        self._pyproject = self._read_pyproject()
        self._requirements_read: tuple[Requirements, Findings] | None = None
        self._selected = False

    def read(self) -> Declared:
        readers: dict[str, Callable[[str], Declared | None]] = {
            "pylock.toml": self._pylock,
            "uv.lock": self._uv_lock,
            **{kind: partial(self._foreign, kind) for kind in FOREIGN_KINDS},
            "Pipfile": self._pipfile,
            "requirements.txt": self._requirements_txt,
            "requirements.in": self._requirements_in,
            **{kind: partial(self._conda, kind) for kind in CONDA_KINDS},
            "pyproject.toml": self._project,
            "setup.cfg": self._setup_cfg,
            "setup.py": self._setup_py,
        }
        declared = self._overridden()
        for kind, names in DEPENDENCY_KINDS:
            paths = self._listing.find(names)
            if kind == "pylock.toml":
                paths += self._listing.named_pylocks
            for path in paths:
                if declared is not None:
                    if path != declared.winner:
                        self._findings.ignored(path, kind, f"{declared.winner} comes first")
                elif reader := readers.get(kind):
                    declared = reader(path)
                else:
                    self._findings.not_supported(path, kind)
                    declared = Declared(path)
        if (self._options.extras or self._options.groups) and not self._selected:
            raise UsageError(
                "extras or groups are selected, but no pyproject.toml or lock declares the dependencies",
                code="unknown-extra",
                remedy="leave them out",
            )
        return self._with_project(declared or Declared())

    def _with_project(self, declared: Declared) -> Declared:
        """``declared`` with the name and the Python that ``pyproject.toml`` states, whoever won."""
        if self._pyproject is None:
            return declared
        path = self._listing.path("pyproject.toml") or ""
        self._pyproject.check_name(self._findings)
        python = self._pyproject.python(self._findings)
        if declared.winner != path and (self._pyproject.name or python):
            reason = "its name and requires-python"
            if declared.winner is not None:
                reason += f"; {declared.winner} declares the dependencies"
            self._findings.used(path, "pyproject.toml", reason)
        # conda brings the Python it was asked for.
        requests = declared.python + ((python,) if python and declared.conda is None else ())
        name = self._pyproject.name or declared.project_name
        return replace(declared, project_name=name, python=requests)

    def _overridden(self) -> Declared | None:
        """What the command line asks for instead of all files."""
        if self._options.requirements is None:
            return None
        requirements = []
        for text in self._options.requirements:
            parsed = parse_requirement(text)
            if parsed is None:
                raise UsageError(
                    f"{quote(text)} is not a requirement on a package index",
                    code="bad-requirement",
                    remedy="write `name`, or `name>=version`, as PEP 508 says",
                )
            requirements.append(Requirement(parsed.text, "command line"))
        return _declared("command line", Dependencies(tuple(requirements)))

    def _pylock(self, path: str) -> Declared:
        self._selected = True
        named = self._listing.named_pylocks
        if path in named and len(named) > 1:
            self._findings.error(
                "ambiguous-lock",
                f"several locks could be meant: {', '.join(named)}",
                path,
                remedy="rename the one to use to pylock.toml",
            )
            return Declared(path)
        lock = self._lock(read_pylock, path)
        if lock is None:
            return Declared(path)
        self._findings.used(path, "pylock.toml", "declares the environment; taken over without solving again")
        adopted = Adopted("pylock.toml", path, self._options.extras, self._options.groups)
        python = (lock.python,) if lock.python else ()
        return Declared(path, adopted=adopted, python=python, packages=lock.names)

    def _uv_lock(self, path: str) -> Declared:
        self._selected = True
        lock = self._lock(read_uv_lock, path)
        if lock is None:
            return Declared(path)
        if self._pyproject is None:
            self._findings.error(
                "bad-lock",
                "there is no readable pyproject.toml beside this lock",
                path,
                remedy="add the pyproject.toml that was locked",
            )
            return Declared(path)
        extras, groups = self._options.extras, self._options.groups
        self._findings.used(path, "uv.lock", "declares the environment; taken over without solving again")
        dependencies = self._pyproject.dependencies(extras, groups, self._findings)
        return Declared(
            path,
            requirements=dependencies.requirements,
            sources=self._own_project(self._pyproject, groups=())[0] if self._pyproject.is_package else (),
            adopted=Adopted("uv.lock", path, extras, groups),
            python=(lock.python,) if lock.python else (),
            packages=lock.names,
        )

    def _foreign(self, kind: AdoptedKind, path: str) -> Declared:
        """A lock of Poetry, PDM or Pipenv."""
        self._selected = True
        extras, groups = self._options.extras, self._options.groups
        try:
            read = read_foreign(
                kind,
                path,
                repo=self._repo,
                pyproject=self._pyproject,
                options=self._options,
                findings=self._findings,
            )
        except RepoError as error:
            self._findings.failed(error)
            if error.file != path:
                self._findings.ignored(path, kind, f"{error.file} has to be mended first")
            return Declared(path)
        self._findings.used(path, kind, "declares the environment; taken over without solving again")
        project = self._pyproject if kind != "Pipfile.lock" else None
        own = self._own_project(project, groups=())[0] if project and project.is_package else ()
        return Declared(
            path,
            requirements=read.requirements,
            sources=(*own, *read.sources),
            adopted=Adopted(kind, path, extras, groups),
            python=read.python,
            packages=read.lock.names,
        )

    def _pipfile(self, path: str) -> Declared:
        self._selected = True
        try:
            pipfile = read_pipfile(self._repo, path)
        except RepoError as error:
            self._findings.failed(error)
            return Declared(path)
        check_groups(path, self._options.groups, pipfile.groups)
        pipfile.check_sources(self._findings, locked=False)
        texts = pipfile.dependencies(self._options.groups, self._findings, locked=False)
        python = pipfile.python(self._findings)
        self._findings.used(path, "Pipfile", "declares the environment")
        found = read_dependencies(texts, self._repo, path, self._findings)
        sources, more = with_local(self._repo, found.sources, self._findings)
        requirements = tuple(dict.fromkeys((*found.requirements, *more.requirements)))
        declared = _declared(path, Dependencies(requirements, sources))
        return replace(declared, python=(python,) if python else ())

    def _lock(self, read: Callable[[Repo, str], ForeignLock], path: str) -> ForeignLock | None:
        try:
            return read(self._repo, path)
        except RepoError as error:
            self._findings.failed(error)
            return None

    def _conda(self, kind: str, path: str, project: Pyproject | None = None) -> Declared:
        from envbuild.spec.conda import read_conda  # slow to import, and most repositories need none of it

        self._selected = self._selected or kind in ("conda-lock.yml", "pixi.lock")
        found = read_conda(kind, self._repo, path, self._options, self._findings, project)
        if found is None:
            return Declared(path)
        return Declared(
            path,
            found.name,
            found.requirements,
            found.constraints,
            found.sources,
            found.adopted,
            (found.python,) if found.python else (),
            found.packages,
            conda=found.request,
        )

    def _requirements_txt(self, path: str) -> Declared | None:
        if self._requirements_read is not None:
            return self._use_requirements(path, "requirements.txt", *self._requirements_read)
        # Asked for the first time, as a lock. What is wrong in it is kept apart: it matters only if
        # nothing of higher precedence is there when it is asked for again.
        findings = Findings()
        result = read_requirements(self._repo, path, findings, self._options.is_own_index)
        self._requirements_read = result, findings
        return self._use_requirements(path, "requirements.txt", result, findings) if result.is_lock else None

    def _requirements_in(self, path: str) -> Declared:
        findings = Findings()
        return self._use_requirements(
            path,
            "requirements.in",
            read_requirements(self._repo, path, findings, self._options.is_own_index),
            findings,
        )

    def _use_requirements(self, path: str, kind: str, result: Requirements, findings: Findings) -> Declared:
        self._findings.adopt(findings)
        adopted = None
        reason = "declares the environment"
        if kind == "requirements.txt" and result.is_lock:
            adopted = Adopted("requirements.txt", path)
            reason += "; every line is pinned and hashed, so it is taken over without solving again"
        elif kind == "requirements.txt" and result.is_compiled and not result.sources:
            adopted = Adopted("requirements.txt", path)
            reason += "; it is compiled and every line is pinned, so it is taken over without solving again"
        self._findings.used(path, kind, reason)
        for included in result.included:
            self._findings.used(included, kind, f"included by {path}")
        sources, more = with_local(self._repo, tuple(result.sources), self._findings)
        requirements = tuple(result.requirements)
        if adopted is None:  # a lock has what its project depends on
            requirements = tuple(dict.fromkeys((*requirements, *more.requirements)))
        declared = _declared(path, Dependencies(requirements, sources), tuple(result.constraints), adopted)
        if adopted is None or result.compiled_with is None or result.compiled_with[1] is None:
            return declared
        # It may lack what another Python needs.
        hint = PythonRequest(f"=={result.compiled_with[1]}.*", printable(path), hint=True)
        return replace(declared, python=(hint,))

    def _project(self, path: str) -> Declared | None:
        self._selected = True
        project = self._pyproject
        if project is None:  # unreadable, which has been said
            return Declared(path)
        if project.foreign_tool == "pixi":
            return self._conda("pyproject.toml", path, project)
        if tool := project.foreign_tool:
            self._findings.not_supported(path, f"tool.{tool}")
            return Declared(path)
        groups = f"; groups not selected: {', '.join(project.groups)}" if project.groups else ""
        if project.is_package:
            (source,), dependencies = self._own_project(project, self._options.groups)
            project.check_solving(dependencies.requirements, self._findings)
            self._findings.used(path, "pyproject.toml", "declares the environment; the project is installed")
            return _declared(path, Dependencies(dependencies.requirements, (source, *dependencies.sources)))
        if not project.has_dependencies and not self._options.groups:
            self._findings.ignored(path, "pyproject.toml", f"declares no dependencies{groups}")
            return None
        dependencies = project.dependencies(self._options.extras, self._options.groups, self._findings)
        project.check_solving(dependencies.requirements, self._findings)
        self._findings.used(
            path, "pyproject.toml", "declares the environment; with no [build-system] it is not installed"
        )
        return _declared(path, dependencies)

    def _own_project(
        self, project: Pyproject, groups: tuple[str, ...]
    ) -> tuple[tuple[SourceRequirement], Dependencies]:
        """The project that ``pyproject.toml`` describes, editable, and what it depends on."""
        wanted = SourceRequirement(
            "path",
            posixpath.dirname(project.path) or ".",
            project.path,
            project.line_of_build_system,
            extras=self._options.extras,
            editable=True,
        )
        source, dependencies = read_local(self._repo, wanted, self._findings, groups)
        return (source,), dependencies

    def _setup_cfg(self, path: str) -> Declared | None:
        try:
            text = self._repo.read(path, _SETUP_CFG_LIMIT)
        except RepoError as error:
            self._findings.failed(error)
            return Declared(path)
        if not re.search(rb"^\[(?:metadata|options)\]", text, re.MULTILINE):
            self._findings.ignored(path, "setup.cfg", "describes no package")
            return None
        return self._legacy(path, "setup.cfg")

    def _setup_py(self, path: str) -> Declared:
        return self._legacy(path, "setup.py")

    def _legacy(self, path: str, kind: str) -> Declared:
        """A project of setuptools: what it depends on is known to its build alone."""
        self._selected = True
        self._findings.used(path, kind, "declares the environment; the project is installed")
        wanted = SourceRequirement(
            "path", posixpath.dirname(path) or ".", path, extras=self._options.extras, editable=True
        )
        sources, _ = with_local(self._repo, (wanted,), self._findings)
        return _declared(path, Dependencies((), sources))

    def _read_pyproject(self) -> Pyproject | None:
        path = self._listing.path("pyproject.toml")
        if path is None:
            return None
        try:
            return read_pyproject(self._repo, path)
        except RepoError as error:
            self._findings.failed(error)
            return None


def _declared(
    winner: str,
    dependencies: Dependencies,
    constraints: tuple[Requirement, ...] = (),
    adopted: Adopted | None = None,
) -> Declared:
    parsed = [parse_requirement(requirement.text) for requirement in dependencies.requirements]
    names = [item.name for item in parsed if item is not None]
    names += [source.name for source in dependencies.sources if source.name is not None]
    return Declared(
        winner,
        requirements=dependencies.requirements,
        constraints=constraints,
        sources=dependencies.sources,
        adopted=adopted,
        packages=frozenset(names),
    )
