"""``pyproject.toml``: the project's dependencies (PEP 621), extras, groups (PEP 735) and Python.

Whether the project itself can be built, and what that takes (PEP 517, PEP 518), is read here too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from envbuild.errors import UsageError
from envbuild.source import Repo
from envbuild.source.text import quote
from envbuild.spec.dependencies import Dependencies, read_dependencies
from envbuild.spec.findings import Findings
from envbuild.spec.model import PythonRequest, Requirement
from envbuild.spec.pdm import PdmTables
from envbuild.spec.pep508 import canonical_name, parse_requirement
from envbuild.spec.poetry import PoetryTables
from envbuild.spec.python_version import is_specifier
from envbuild.spec.toml_file import TomlFile, parse_toml, subtable

__all__ = ["Pyproject", "read_pyproject"]

_FILE_LIMIT = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_DEEPEST_GROUP = 50


def read_pyproject(repo: Repo, path: str) -> Pyproject:
    """Read ``path``.

    Raises:
        RepoError: it cannot be read or is not TOML.
    """
    return Pyproject(parse_toml(repo, path, _FILE_LIMIT), repo)


class Pyproject:
    """One ``pyproject.toml``; its tables are looked at when they are asked for."""

    def __init__(self, file: TomlFile, repo: Repo) -> None:
        self._file = file
        self._repo = repo
        self._project = subtable(file.data, "project")
        self._tool = subtable(file.data, "tool")
        self.poetry = PoetryTables(file)
        self.pdm = PdmTables(file)

    @property
    def path(self) -> str:
        """Where it is, for people."""
        return self._file.path

    @property
    def name(self) -> str | None:
        """The project's name as written, None when it has none or one that is not valid."""
        name = self._project.get("name", self.poetry.name)
        return name if isinstance(name, str) and _NAME.fullmatch(name) else None

    @property
    def foreign_tool(self) -> str | None:
        """``pixi`` when that tool's own tables hold dependencies, which are not read."""
        pixi = subtable(self._tool, "pixi")
        return "pixi" if any(key.endswith("dependencies") or key == "feature" for key in pixi) else None

    @property
    def has_dependencies(self) -> bool:
        """Whether it is said what the project depends on (an empty list says so too)."""
        return "dependencies" in self._project or "dependencies" in self._dynamic or self._asks_poetry

    @property
    def line_of_build_system(self) -> int | None:
        """Where ``[build-system]`` is."""
        return self._file.line_of_key("build-system")

    @property
    def is_package(self) -> bool:
        """Whether the project itself is to be installed: it says what builds it, and is named.

        ``tool.uv.package``, ``tool.poetry.package-mode`` and ``tool.pdm.distribution`` override that. A
        project of Poetry is a package only if its code is where Poetry looks for it: ``poetry init`` calls
        every project one.
        """
        for package in (subtable(self._tool, "uv").get("package"), self.pdm.distribution):
            if isinstance(package, bool):
                return package
        if self.poetry and not self.poetry.is_package(self._repo):
            return False
        if self.poetry and "build-system" in self._file.data:
            return self.name is not None
        return "build-system" in self._file.data and ("name" in self._project or "flit" in self._tool)

    def is_dynamic(self, *, extras: bool) -> bool:
        """Whether only the project's build knows its dependencies (or, with ``extras``, theirs)."""
        if self._asks_poetry:
            return False
        return (
            not self._project
            or "dependencies" in self._dynamic
            or (extras and "optional-dependencies" in self._dynamic)
        )

    @property
    def build_table(self) -> dict[str, Any]:
        """What decides how the project is built and what it is called: equal when that is the same."""
        kept = ("name", "requires-python", "dynamic", "scripts", "gui-scripts", "entry-points")
        return {
            "build-system": self._file.data.get("build-system"),
            "project": {key: self._project[key] for key in kept if key in self._project},
            **({"poetry": subtable(self._tool, "poetry")} if self.poetry else {}),
        }

    @property
    def groups(self) -> tuple[str, ...]:
        """The canonical names of the dependency groups, sorted."""
        names = set(map(canonical_name, subtable(self._file.data, "dependency-groups")))
        return tuple(sorted(names | set(self.poetry.groups) | set(self.pdm.groups)))

    @property
    def extras(self) -> tuple[str, ...]:
        """The canonical names of the extras, sorted."""
        names = set(map(canonical_name, subtable(self._project, "optional-dependencies")))
        return tuple(sorted(names | set(self.poetry.extras)))

    def check_name(self, findings: Findings) -> None:
        """Report a name that is not valid."""
        if "name" in self._project and self.name is None:
            message = f"the name {quote(str(self._project['name']))} is not valid"
            findings.error("bad-pyproject", message, self.path, self._file.line_of_key("name"))

    def python(self, findings: Findings) -> PythonRequest | None:
        """``requires-python``, if there is one."""
        value = self._project.get("requires-python")
        if value is None:
            return self.poetry.python(findings)
        line = self._file.line_of_key("requires-python")
        if isinstance(value, str) and is_specifier(value):
            return PythonRequest(value, self.path, line)
        findings.error(
            "bad-pyproject",
            f"requires-python {quote(str(value))} is not a version specifier",
            self.path,
            line,
        )
        return None

    def dependencies(
        self, extras: tuple[str, ...], groups: tuple[str, ...], findings: Findings, *, locked: bool = False
    ) -> Dependencies:
        """The project's dependencies with those of ``extras`` and ``groups``; mistakes go to ``findings``.

        What is dynamic is left out when the project is a package: its build will tell.

        Parameters:
            locked: a lock has the versions and files, so what only matters to solving is passed over.

        Raises:
            UsageError: an extra or a group does not exist.
        """
        if "optional-dependencies" not in self._dynamic:
            self._check_selection("extra", extras, self.extras)
        self._check_selection("dependency group", groups, self.groups)
        dynamic = self._project and self.is_dynamic(extras=bool(extras))
        if dynamic and not self.is_package:
            findings.error(
                "dynamic-dependencies",
                "the dependencies are dynamic, but no [build-system] says who knows them",
                self.path,
                self._file.line_of_key("dynamic"),
                "write them into [project], or add a [build-system]",
            )
            return Dependencies()
        texts = [*self._strings(self._project.get("dependencies", []), "project.dependencies", findings)]
        optional = subtable(self._project, "optional-dependencies")
        done: set[str] = set()
        for extra in extras:
            texts += self._extra(canonical_name(extra), optional, done, findings)
        done = set()
        for group in groups:
            texts += self._group(canonical_name(group), (), done, findings)
        lines = [(text, self._file.line_of_string(text)) for text in texts]
        lines += self._of_poetry(extras, groups, findings, locked=locked)
        return read_dependencies(lines, self._repo, self.path, findings)

    @property
    def _asks_poetry(self) -> bool:
        """Whether the project's own dependencies are those of ``tool.poetry``."""
        own = "dependencies" in self._project and "dependencies" not in self._dynamic
        return self.poetry.has_dependencies and not own

    def _of_poetry(
        self, extras: tuple[str, ...], groups: tuple[str, ...], findings: Findings, *, locked: bool
    ) -> Iterator[tuple[str, int | None]]:
        if self._asks_poetry:
            yield from self.poetry.dependencies(extras, findings, locked=locked)
        for group in groups:
            yield from self.poetry.group(canonical_name(group), findings, locked=locked)

    @property
    def _dynamic(self) -> list[Any]:
        dynamic = self._project.get("dynamic")
        return dynamic if isinstance(dynamic, list) else []

    def _check_selection(self, what: str, wanted: tuple[str, ...], offered: tuple[str, ...]) -> None:
        for name in wanted:
            if canonical_name(name) not in offered:
                raise UsageError(
                    f"{self.path} has no {what} {quote(name)}",
                    code="unknown-" + what.rsplit(" ", maxsplit=1)[-1],
                    remedy=f"choose from: {', '.join(offered)}" if offered else f"there is no {what} at all",
                )

    def check_solving(self, requirements: tuple[Requirement, ...], findings: Findings) -> None:
        """Name what is said for other tools about solving ``requirements`` and is not followed."""
        self.poetry.check_sources(findings, locked=False)
        self.pdm.check_solving(findings)
        self._check_tool_uv(requirements, findings)

    def _check_tool_uv(self, requirements: tuple[Requirement, ...], findings: Findings) -> None:
        uv = subtable(self._tool, "uv")
        pip = subtable(uv, "pip")
        for key in ("index", "index-url", "extra-index-url", "find-links"):
            if key in uv or key in pip:
                findings.error(
                    "index-in-repository",
                    f"{key} of tool.uv is not followed: the indexes are up to the user, never the repository",
                    self.path,
                    self._file.line_of_key("tool.uv." + key) or self._file.line_of_key(key),
                    "remove it, and configure the index for your own machine",
                )
        for key in ("constraint-dependencies", "override-dependencies", "exclude-dependencies"):
            if key in uv:
                findings.warning(
                    "option-ignored",
                    f"{key} of tool.uv is not followed",
                    self.path,
                    self._file.line_of_key(key),
                    "run `uv lock` and keep the uv.lock, which is taken over as it is",
                )
        names = {parsed.name for item in requirements if (parsed := parse_requirement(item.text))}
        for key in subtable(uv, "sources"):
            if canonical_name(key) in names:
                findings.error(
                    "not-supported-yet",
                    f"tool.uv.sources takes {quote(key)} from no index, which is not supported yet",
                    self.path,
                    self._file.line_of_key(key),
                    "depend on a released version of the package instead",
                )

    def _extra(
        self, name: str, optional: dict[str, Any], done: set[str], findings: Findings
    ) -> Iterator[str]:
        """The texts of one extra; an extra may name others through the project's own name."""
        own = canonical_name(self.name) if self.name else None
        todo = [name]
        while todo:
            name = todo.pop()
            if name in done:
                continue
            done.add(name)
            for key in (key for key in optional if canonical_name(key) == name):
                for text in self._strings(optional[key], f"project.optional-dependencies.{key}", findings):
                    parsed = parse_requirement(text)
                    if parsed is not None and parsed.name == own:
                        todo += sorted(parsed.extras)
                    else:
                        yield text

    def _group(self, name: str, above: tuple[str, ...], done: set[str], findings: Findings) -> Iterator[str]:
        """The texts of one group and of those it includes (PEP 735)."""
        table = self.pdm.groups | subtable(self._file.data, "dependency-groups")
        key = next((key for key in table if canonical_name(key) == name), None)
        if key is None and name in self.poetry.groups:
            return
        if key is None or name in above or len(above) > _DEEPEST_GROUP:
            what = "does not exist" if key is None else "includes itself, or others too deeply"
            line = self._file.line_of_string(name) or self._file.line_of_key(name)
            findings.error("bad-pyproject", f"the dependency group {quote(name)} {what}", self.path, line)
            return
        if name in done:
            return
        done.add(name)
        values = table[key]
        for value in values if isinstance(values, list) else [{}]:
            include = value.get("include-group") if isinstance(value, dict) and len(value) == 1 else None
            if isinstance(include, str):
                yield from self._group(canonical_name(include), (*above, name), done, findings)
            else:
                yield from self._strings([value], f"dependency-groups.{key}", findings)

    def _strings(self, values: object, where: str, findings: Findings) -> Iterator[str]:
        """The strings of the list ``values``; anything else is a mistake."""
        for value in values if isinstance(values, list) else [None]:
            if isinstance(value, str):
                yield value
                continue
            line = self._file.line_of_key(where) or self._file.line_of_key(where.rsplit(".", maxsplit=1)[-1])
            findings.error("bad-pyproject", f"{quote(where)} is not a list of strings", self.path, line)
