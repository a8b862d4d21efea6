"""``Pipfile.lock``: every package of a section is installed where its marker holds.

Format: https://pipenv.pypa.io/en/stable/pipfile.html#pipfile-lock-security-features
"""

from __future__ import annotations

import json
import re
from typing import Any

from envbuild.errors import RepoError
from envbuild.source import Repo, printable
from envbuild.source.text import quote
from envbuild.spec.lock_entry import Entry
from envbuild.spec.locked import LockedPackage, LockedSet
from envbuild.spec.pipfile import markers_of

__all__ = ["read_pipfile_lock"]

_FILE_LIMIT = 64 << 20
_SPEC = 6
_REMEDY = "run `pipenv lock`"
_INDENT = 4
_HEADING = re.compile(r'( {4}| {8})"([^"]+)": \{')
_ELSEWHERE = {"git": "git+{}", "path": "{}", "file": "{}"}
# What the sections are called as groups of the Pipfile.
_GROUPS = {"default": "default", "develop": "dev"}


def read_pipfile_lock(repo: Repo, path: str) -> tuple[LockedSet, object]:
    """Read ``Pipfile.lock``: the packages, and the sources it names (as they are in there).

    Raises:
        RepoError: it cannot be read, is of another version, or is not what Pipenv writes.
    """
    shown = printable(path)
    data = repo.read(path, _FILE_LIMIT)
    try:
        text = data.decode("utf-8-sig")
        document = json.loads(text, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RepoError("this is not UTF-8 text", code="bad-encoding", file=shown, line=line) from error
    except (ValueError, RecursionError) as error:
        raise RepoError(
            "this is not valid JSON",
            code="bad-json",
            file=shown,
            line=getattr(error, "lineno", None),
            remedy=_REMEDY,
        ) from error
    top = Entry(document, path=shown, line=None, what="it", remedy=_REMEDY)
    meta = top.inner("_meta")
    if meta.values.get("pipfile-spec") != _SPEC:
        raise RepoError(
            f"version {quote(str(meta.values.get('pipfile-spec')))} of Pipfile.lock is not supported; "
            f"{_SPEC} is",
            code="bad-lock",
            file=shown,
            remedy="run `pipenv lock` with a Pipenv of after 2018",
        )
    sources = meta.values.get("sources", [])
    lines = _lines(text)
    packages = [
        _package(
            Entry(
                values,
                path=shown,
                line=lines.get((section, name)),
                what=f"the package {quote(name)}",
                remedy=_REMEDY,
            ),
            name,
            _GROUPS.get(section, section),
            sources,
        )
        for section in document
        if section != "_meta"
        for name, values in top.inner(section).values.items()
    ]
    content_hash = meta.inner("hash").text("sha256", "")
    return LockedSet(shown, tuple(packages), main=_GROUPS["default"], content_hash=content_hash), sources


def _package(entry: Entry, name: str, group: str, sources: object) -> LockedPackage:
    elsewhere = next(
        (text.format(entry.text(key)) for key, text in _ELSEWHERE.items() if key in entry.values), ""
    )
    try:
        marker = entry.marker(markers_of(entry.values))
    except ValueError as error:
        entry.fail(str(error))
    version = entry.text("version", "*")
    if version == "*":  # from elsewhere; or Pipenv saw that it is for other machines, and did not look it up
        version = ""
    else:
        if not version.startswith("=="):
            entry.fail(f"has the version {quote(version)}, which is no pin")
        version = entry.version(version.removeprefix("===").removeprefix("=="))
    return LockedPackage(
        name=entry.name(name),
        version=version,
        line=entry.line,
        files=entry.hashes(entry.values.get("hashes", [])),
        elsewhere=elsewhere,
        commit=entry.text("ref", "") if "git" in entry.values else "",
        index=_address(entry.text("index", ""), sources),
        groups={group: marker},
    )


def _address(index: str, sources: object) -> str:
    """Where the index of this name is; "" for the first, which ``pipenv install`` writes by itself."""
    for source in sources[1:] if isinstance(sources, list) else ():
        if isinstance(source, dict) and source.get("name") == index and isinstance(source.get("url"), str):
            address: str = source["url"]
            return address
    return ""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON in which no key comes twice."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key is there twice")
    return values


def _lines(text: str) -> dict[tuple[str, str], int]:
    """The lines on which the packages of each section begin, as Pipenv lays them out."""
    found: dict[tuple[str, str], int] = {}
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        if match := _HEADING.match(line):
            if len(match[1]) == _INDENT:
                section = match[2]
            else:
                found.setdefault((section, match[2]), number)
    return found
