"""``[tool.poetry]`` of ``pyproject.toml``: dependencies, groups and extras, as PEP 508 requirements.

Format: https://python-poetry.org/docs/pyproject/ and https://python-poetry.org/docs/dependency-specification/
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterator
from typing import Any

from packaging.specifiers import SpecifierSet

from envbuild.source import Repo
from envbuild.source.text import quote
from envbuild.spec.constraints import alternatives
from envbuild.spec.findings import Findings
from envbuild.spec.model import PythonRequest
from envbuild.spec.pep508 import canonical_name
from envbuild.spec.toml_file import TomlFile, subtable

__all__ = ["PoetryTables", "python_request"]

# Keys of a dependency that say it is from no index, and how pip would write it.
_DIRECT = {"git": "git+{}", "url": "{}", "path": "{}", "file": "{}"}
# What of a project decides its lock (Poetry's Locker._get_content_hash).
_OLD_KEYS = ("dependencies", "source", "extras", "dev-dependencies")
_PROJECT_KEYS = ("requires-python", "dependencies", "optional-dependencies")
_PYTHONS = tuple(f"3.{minor}.{patch}" for minor in range(9, 30) for patch in (0, 99))


class PoetryTables:
    """What the tables below ``[tool.poetry]`` say."""

    def __init__(self, file: TomlFile) -> None:
        self._file = file
        self._poetry = subtable(subtable(file.data, "tool"), "poetry")
        self._groups = {
            canonical_name(name): group for name, group in subtable(self._poetry, "group").items()
        }
        if "dev-dependencies" in self._poetry:
            old = {"dependencies": self._poetry["dev-dependencies"]}
            self._groups = {"dev": old} | self._groups

    def __bool__(self) -> bool:
        return bool(self._poetry)

    @property
    def has_dependencies(self) -> bool:
        """Whether there is a table of the project's own dependencies."""
        return "dependencies" in self._poetry

    @property
    def name(self) -> object:
        """``name`` as written, None when there is none."""
        return self._poetry.get("name")

    def is_package(self, repo: Repo) -> bool:
        """Whether Poetry would install the project itself, and finds code to install."""
        if self._poetry.get("package-mode") is False:
            return False
        name = subtable(self._file.data, "project").get("name", self.name)
        if "packages" in self._poetry or not isinstance(name, str):
            return True
        module = re.sub(r"[^A-Za-z0-9_]", "_", name)
        folder = posixpath.dirname(self._file.path)
        places = (module, f"{module}.py", f"src/{module}", f"src/{module}.py")
        return any(repo.exists(posixpath.join(folder, place)) for place in places)

    @property
    def groups(self) -> tuple[str, ...]:
        """The canonical names of the groups."""
        return tuple(sorted(self._groups))

    @property
    def extras(self) -> tuple[str, ...]:
        """The canonical names of the extras."""
        return tuple(sorted(map(canonical_name, subtable(self._poetry, "extras"))))

    def python(self, findings: Findings) -> PythonRequest | None:
        """What ``python`` among the dependencies asks for."""
        value = subtable(self._poetry, "dependencies").get("python")
        text = value.get("version") if isinstance(value, dict) else value
        if text is None:
            return None
        line = self._file.line_of_key("python")
        try:
            if isinstance(text, str):
                return python_request(text, self._file.path, line)
        except ValueError:
            pass
        message = f"python = {quote(str(text))} is not a version constraint"
        findings.error("bad-pyproject", message, self._file.path, line)
        return None

    def dependencies(
        self, extras: tuple[str, ...], findings: Findings, *, locked: bool
    ) -> Iterator[tuple[str, int | None]]:
        """The project's own dependencies, with those of ``extras``: requirements and their lines.

        Parameters:
            locked: a lock has the versions, so what PEP 508 cannot say about them is left out.
        """
        wanted = set()
        for name, members in subtable(self._poetry, "extras").items():
            if canonical_name(name) in map(canonical_name, extras) and isinstance(members, list):
                wanted |= {canonical_name(member) for member in members if isinstance(member, str)}
        for name, values in subtable(self._poetry, "dependencies").items():
            if canonical_name(name) == "python":
                continue
            for value in values if isinstance(values, list) else [values]:
                optional = isinstance(value, dict) and value.get("optional") is True
                if not optional or canonical_name(name) in wanted:
                    yield from self._requirement(name, value, findings, locked=locked)

    def group(
        self, name: str, findings: Findings, *, locked: bool, above: tuple[str, ...] = ()
    ) -> Iterator[tuple[str, int | None]]:
        """The requirements of the group ``name`` (canonical), and of those it includes, with their lines."""
        group = self._groups.get(name)
        for key, values in subtable(group, "dependencies").items() if isinstance(group, dict) else ():
            for value in values if isinstance(values, list) else [values]:
                yield from self._requirement(key, value, findings, locked=locked)
        included = group.get("include-groups") if isinstance(group, dict) else None
        for other in included if isinstance(included, list) else ():
            if isinstance(other, str) and canonical_name(other) not in (*above, name):
                yield from self.group(canonical_name(other), findings, locked=locked, above=(*above, name))

    def check_sources(self, findings: Findings, *, locked: bool) -> None:
        """Name the indexes that ``[[tool.poetry.source]]`` brings: only the user's own are asked."""
        sources = self._poetry.get("source")
        for source in sources if isinstance(sources, list) else ():
            name = source.get("name") if isinstance(source, dict) else None
            if not isinstance(name, str) or name.lower() == "pypi":
                continue
            report = findings.note if locked else findings.error
            report(
                "index-in-repository",
                f"the index {quote(name)} is not followed: the indexes are up to the user, "
                "never the repository",
                self._file.path,
                self._file.line_of_string(name),
                "if packages are only there, configure it as an index for your own machine"
                if locked
                else "run `poetry lock` and keep the poetry.lock, or configure the index for your machine",
            )

    def content_hashes(self) -> frozenset[str]:
        """The ``content-hash`` values a lock of this project has; none when that cannot be told.

        Poetry 2.3 began to count dependency groups.
        """
        return frozenset(self._content_hash(groups) for groups in (True, False)) - {""}

    def _content_hash(self, with_groups: bool) -> str:
        project = subtable(self._file.data, "project")
        known = {key: project[key] for key in _PROJECT_KEYS if key in project}
        groups = subtable(self._file.data, "dependency-groups") if with_groups else {}
        own = {key: self._poetry[key] for key in (*_OLD_KEYS, "group") if key in self._poetry}
        content: dict[str, Any]
        if known or groups:
            content = {"tool": {"poetry": own}}
            content |= {"project": known} if known else {}
            content |= {"dependency-groups": groups} if groups else {}
        else:
            content = dict.fromkeys(_OLD_KEYS) | own
        try:
            return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        except (TypeError, ValueError):  # a date among the values, which no lock was made of
            return ""

    def _requirement(
        self, name: str, value: object, findings: Findings, *, locked: bool
    ) -> Iterator[tuple[str, int | None]]:
        line = self._file.line_of_key(name)
        table = {"version": value} if isinstance(value, str) else value
        try:
            if not isinstance(table, dict):
                raise ValueError("is neither a version nor a table")
            if isinstance(table.get("source"), str) and not locked:
                findings.error(
                    "index-in-repository",
                    f"{quote(name)} is wanted from the index {quote(table['source'])}, which is not followed",
                    self._file.path,
                    line,
                    "run `poetry lock` and keep the poetry.lock: what it names is looked up by its hash",
                )
            yield _pep508(name, table, locked=locked), line
        except ValueError as error:
            findings.error(
                "bad-requirement",
                f"the dependency {quote(name)} {error}",
                self._file.path,
                line,
                "write it as Poetry documents it, or run `poetry lock` and keep the poetry.lock",
            )


def python_request(text: str, file: str, line: int | None) -> PythonRequest | None:
    """What a constraint on Python asks for; None when it allows all.

    Of several ranges (``~2.7 || ^3.6``) the one with versions that are in use counts.

    Raises:
        ValueError: it is not a constraint.
    """
    sets = alternatives(text)
    if len(sets) > 1:
        sets = tuple(one for one in sets if any(one.contains(version) for version in _PYTHONS)) or sets
    specifier = str(sets[-1])
    return PythonRequest(specifier, file, line) if specifier else None


def _pep508(name: str, table: dict[str, Any], *, locked: bool) -> str:
    """One dependency; raises :class:`ValueError` when it cannot be said."""
    extras = table.get("extras", [])
    if not isinstance(extras, list) or not all(isinstance(extra, str) for extra in extras):
        raise ValueError("has extras that are no list of names")
    text = name + (f"[{','.join(extras)}]" if extras else "")
    direct = next((key for key in _DIRECT if key in table), None)
    if direct is not None:
        text += f" @ {_location(direct, table)}"
    else:
        version = table.get("version", "*")
        if not isinstance(version, str):
            raise ValueError("has a version that is no text")
        sets = alternatives(version)
        if len(sets) > 1 and not locked:
            raise ValueError(f"has a version {quote(version)} with ||, which only a lock can decide")
        text += str(sets[0]) if len(sets) == 1 else ""
    marker = " and ".join(f"({part})" for part in _markers(table))
    return f"{text} ; {marker}" if marker else text


def _location(key: str, table: dict[str, Any]) -> str:
    place = table[key]
    if not isinstance(place, str):
        raise ValueError(f"has a {key} that is no text")
    if key in ("path", "file"):
        return place if place.startswith(("/", ".")) else f"./{place}"
    location = _DIRECT[key].format(place)
    revision = next((table[name] for name in ("rev", "tag", "branch") if name in table), None)
    if key == "git" and isinstance(revision, str):
        location += f"@{revision}"
    if isinstance(table.get("subdirectory"), str):
        location += f"#subdirectory={table['subdirectory']}"
    return location


def _markers(table: dict[str, Any]) -> Iterator[str]:
    for key in ("markers", "python", "platform"):
        value = table.get(key)
        if value is None:
            continue
        if not isinstance(value, str):
            raise ValueError(f"has {key} that are no text")
        if key == "markers":
            yield value
        elif key == "python":
            parts = [_python_marker(one) for one in alternatives(value)]
            if all(parts):
                yield " or ".join(parts)
        else:
            words = [word.strip() for word in value.split("||")]
            yield " or ".join(_platform_marker(word) for word in words)


def _python_marker(specifiers: SpecifierSet) -> str:
    parts = []
    for one in sorted(specifiers, key=str):
        version = one.version.removesuffix(".*")
        variable = "python_version" if version.count(".") < 2 else "python_full_version"
        parts.append(f'{variable} {one.operator} "{version}"')
    return " and ".join(parts)


def _platform_marker(word: str) -> str:
    operator = "!=" if word.startswith("!=") else "=="
    name = word.removeprefix(operator).strip()
    if not name.isalnum():
        raise ValueError(f"has the impossible platform {quote(word)}")
    return f'sys_platform {operator} "{name}"'
