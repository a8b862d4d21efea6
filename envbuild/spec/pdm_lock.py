"""``pdm.lock``, format 4.

With the strategy ``inherit_metadata`` (the default since 4.4.1) a package says for which groups and under
which marker it is needed; otherwise that follows from the dependencies. A package with extras is an entry of
its own. What is in there: ``pdm/project/lockfile`` and ``pdm/models/repositories/lock.py`` of PDM.
"""

from __future__ import annotations

import re

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from envbuild.errors import RepoError
from envbuild.source import Repo
from envbuild.source.text import quote
from envbuild.spec.lock_entry import Entry, package_lines
from envbuild.spec.locked import Dependency, LockedPackage, LockedSet
from envbuild.spec.pep508 import canonical_name
from envbuild.spec.toml_file import parse_toml

__all__ = ["read_pdm_lock"]

_FILE_LIMIT = 64 << 20
_VERSION = re.compile(r"4\.\d{1,3}(?:\.\d{1,3})?")
_REMEDY = "run `pdm lock`"
_ELSEWHERE = {"git": "git+{}", "hg": "hg+{}", "svn": "svn+{}", "url": "{}", "path": "{}"}
_FILE_URL = re.compile(r"file:/{2,3}\$\{PROJECT_ROOT\}/?")


def read_pdm_lock(repo: Repo, path: str) -> LockedSet:
    """Read ``pdm.lock``.

    Raises:
        RepoError: it cannot be read, is of another version, or is not what PDM writes.
    """
    file = parse_toml(repo, path, _FILE_LIMIT)
    top = Entry(file.data, path=file.path, line=None, what="it", remedy=_REMEDY)
    metadata = top.inner("metadata", "metadata")
    version = metadata.text("lock_version", "0")
    if not _VERSION.fullmatch(version):
        raise RepoError(
            f"version {quote(version)} of pdm.lock is not supported; 4 is",
            code="bad-lock",
            file=file.path,
            line=file.line_of_key("lock_version"),
            remedy="run `pdm lock` with PDM 2.5 or later",
        )
    packages = file.data.get("package", [])
    if not isinstance(packages, list):
        top.fail("has something else than a list of packages")
    by_name = metadata.inner("files")
    inherits = "inherit_metadata" in metadata.texts("strategy")
    lines = package_lines(file, packages)
    read = [
        _package(
            Entry(values, path=file.path, line=lines.get(number), what="a package", remedy=_REMEDY),
            by_name,
            inherits=inherits,
        )
        for number, values in enumerate(packages)
    ]
    return LockedSet(
        file.path,
        tuple(read),
        main="default",
        platforms=_platforms(metadata),
        content_hash=metadata.text("content_hash", ""),
        extras_are_groups=True,
    )


def _platforms(metadata: Entry) -> tuple[str, ...]:
    """The platforms that the lock was made for, as PDM names them; empty for all."""
    targets = metadata.values.get("targets", [])
    if not isinstance(targets, list):
        metadata.fail("has something else than a list of targets")
    found = set()
    for values in targets:
        target = Entry(values, path=metadata.path, line=metadata.line, what="a target", remedy=_REMEDY)
        found.add(target.text("platform", ""))
    return () if "" in found else tuple(sorted(found))


def _package(entry: Entry, by_name: Entry, *, inherits: bool) -> LockedPackage:
    name = entry.name()
    version = entry.version(entry.text("version"))
    elsewhere = next(
        (
            text.format(_FILE_URL.sub("", entry.text(key)))
            for key, text in _ELSEWHERE.items()
            if key in entry.values
        ),
        "",
    )
    extras = frozenset(map(canonical_name, entry.texts("extras")))
    python = entry.text("requires_python", "")
    try:
        allowed = (SpecifierSet(python),) if python else ()
    except InvalidSpecifier:
        entry.fail(f"has the impossible requires_python {quote(python)}")
    groups = None
    if inherits:
        marker = entry.marker(entry.values.get("marker", ""))
        groups = {entry.name(group): marker for group in entry.texts("groups")}
    dependencies = (_dependency(entry, text, extras) for text in entry.texts("dependencies"))
    old_files = by_name.values.get(f"{entry.text('name')} {version}", [])
    return LockedPackage(
        name=name,
        version=version,
        line=entry.line,
        files=entry.files(entry.values.get("files", old_files)),
        python=allowed,
        elsewhere=elsewhere,
        commit=entry.text("revision", "") if "git" in entry.values else "",
        dependencies=tuple(one for one in dependencies if one.name != name),
        groups=groups,
    )


def _dependency(entry: Entry, text: str, when: frozenset[str]) -> Dependency:
    try:
        parsed = Requirement(text)
    except (InvalidRequirement, ValueError, RecursionError):
        entry.fail(f"has the impossible requirement {quote(text)}")
    return Dependency(
        name=canonical_name(parsed.name),
        allowed=(parsed.specifier,) if parsed.specifier else (),
        extras=frozenset(map(canonical_name, parsed.extras)),
        marker=entry.marker(str(parsed.marker) if parsed.marker else ""),
        when=when,
    )
