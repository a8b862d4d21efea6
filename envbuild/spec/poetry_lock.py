"""``poetry.lock``, format 1.0 to 2.1.

From 2.1 on a package says for which groups and under which markers it is needed; before, that follows from
the dependencies. What is in there: ``poetry/packages/locker.py`` of Poetry.
"""

from __future__ import annotations

import re
from typing import Any

from envbuild.errors import RepoError
from envbuild.source import Repo
from envbuild.source.text import quote
from envbuild.spec.constraints import alternatives
from envbuild.spec.lock_entry import Entry, package_lines
from envbuild.spec.locked import Dependency, LockedPackage, LockedSet
from envbuild.spec.poetry import python_request
from envbuild.spec.toml_file import parse_toml

__all__ = ["read_poetry_lock"]

_FILE_LIMIT = 64 << 20
_VERSIONS = re.compile(r"[12]\.\d{1,3}")
_REMEDY = "run `poetry lock`"
_ELSEWHERE = {"git": "git+{}", "url": "{}", "directory": "the directory {}", "file": "the file {}"}


def read_poetry_lock(repo: Repo, path: str) -> LockedSet:
    """Read ``poetry.lock``.

    Raises:
        RepoError: it cannot be read, is of another version, or is not what Poetry writes.
    """
    file = parse_toml(repo, path, _FILE_LIMIT)
    top = Entry(file.data, path=file.path, line=None, what="it", remedy=_REMEDY)
    metadata = top.inner("metadata", "metadata")
    version = metadata.text("lock-version", "0")
    if not _VERSIONS.fullmatch(version):
        raise RepoError(
            f"version {quote(version)} of poetry.lock is not supported; 1 and 2 are",
            code="bad-lock",
            file=file.path,
            line=file.line_of_key("lock-version"),
            remedy="run `poetry lock` with Poetry 1 or 2",
        )
    packages = file.data.get("package", [])
    if not isinstance(packages, list):
        top.fail("has something else than a list of packages")
    lines = package_lines(file, packages)
    by_name = metadata.inner("files")
    knows_groups = tuple(map(int, version.split("."))) >= (2, 1)
    read = [
        _package(
            Entry(values, path=file.path, line=lines.get(number), what="a package", remedy=_REMEDY),
            by_name,
            knows_groups=knows_groups,
        )
        for number, values in enumerate(packages)
    ]
    python = metadata.text("python-versions", "*")
    try:
        request = python_request(python, file.path, file.line_of_key("metadata"))
    except ValueError:
        metadata.fail(f"has the impossible python-versions {quote(python)}")
    return LockedSet(
        file.path, tuple(read), request, main="main", content_hash=metadata.text("content-hash", "")
    )


def _package(entry: Entry, by_name: Entry, *, knows_groups: bool) -> LockedPackage:
    name = entry.name()
    source = entry.inner("source")
    kind = source.text("type", "")
    elsewhere = ""
    if kind in _ELSEWHERE:
        elsewhere = _ELSEWHERE[kind].format(source.text("url"))
    elif kind not in ("", "legacy", "pypi"):
        source.fail(f"has the unknown type {quote(kind)}")
    files = entry.values.get("files", by_name.values.get(entry.text("name"), []))
    optional = _optional(entry)
    dependencies = []
    for key, value in entry.inner("dependencies").values.items():
        for one in value if isinstance(value, list) else [value]:
            dependencies += _dependency(entry, key, one, optional)
    return LockedPackage(
        name=name,
        version=entry.version(entry.text("version")),
        line=entry.line,
        files=entry.files(files),
        python=_constraint(entry, entry.text("python-versions", "*")),
        elsewhere=elsewhere,
        commit=source.text("resolved_reference", "") if kind == "git" else "",
        index=source.text("url", "") if kind == "legacy" else "",
        dependencies=tuple(dependencies),
        groups=_groups(entry) if knows_groups else None,
    )


def _groups(entry: Entry) -> dict[str, str]:
    """Markers by group: one for all, or one each."""
    markers = entry.values.get("markers", "")
    groups = {}
    for group in entry.texts("groups"):
        marker = markers.get(group, "") if isinstance(markers, dict) else markers
        groups[entry.name(group)] = entry.marker(marker)
    return groups


def _optional(entry: Entry) -> dict[str, set[str]]:
    """Which extras need a dependency: canonical name -> extras."""
    needed: dict[str, set[str]] = {}
    extras = entry.inner("extras")
    for extra in extras.values:
        for text in extras.texts(extra):
            # ``name (>=1)``, with or without extras and a marker.
            name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", text)
            if name is None:
                entry.fail(f"has the impossible requirement {quote(text)}")
            needed.setdefault(entry.name(name[0].rstrip("._-")), set()).add(entry.name(extra))
    return needed


def _dependency(entry: Entry, key: str, value: object, optional: dict[str, set[str]]) -> list[Dependency]:
    name = entry.name(key)
    table: dict[str, Any] = {"version": value} if isinstance(value, str) else {}
    if isinstance(value, dict):
        table = value
    elif not isinstance(value, str):
        entry.fail(f"has a dependency {quote(key)} that is neither text nor table")
    one = Entry(table, path=entry.path, line=entry.line, what=f"the dependency {key}", remedy=_REMEDY)
    dependency = Dependency(
        name=name,
        allowed=_constraint(one, one.text("version", "*")),
        extras=frozenset(one.name(extra) for extra in one.texts("extras")),
        marker=one.marker(table.get("markers", "")),
    )
    if table.get("optional") is not True:
        return [dependency]
    return [
        Dependency(name, dependency.allowed, dependency.extras, dependency.marker, frozenset({extra}))
        for extra in sorted(optional.get(name, ()))
    ]


def _constraint(entry: Entry, text: str) -> Any:
    try:
        return alternatives(text)
    except ValueError:
        entry.fail(f"has the impossible version constraint {quote(text)}")
