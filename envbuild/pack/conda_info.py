"""What a conda package says about itself, below ``info/``: the files it installs and how.

``info/paths.json`` (conda's package specification), or for packages from before there was one ``info/files``,
``info/has_prefix`` and ``info/no_link``; ``info/index.json``; ``info/link.json`` of Python packages without
architecture.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any, Literal, cast

from envbuild.pack.conda_archive import CondaArchive, damaged

__all__ = ["CondaInfo", "PathEntry", "read_info"]

# The prefix packages were built in before has_prefix named it. In two parts, so that it is not one itself.
_OLD_PLACEHOLDER = "/opt/anaconda1anaconda2" + "anaconda3"

_KINDS: dict[str, Literal["file", "symlink", "dir"]] = {
    "hardlink": "file",
    "softlink": "symlink",
    "directory": "dir",
}


@dataclass(frozen=True, slots=True)
class PathEntry:
    """One path a package installs, relative to the prefix (of Python packages without architecture: see
    :func:`envbuild.pack.conda.conda_entries`).

    ``sha256`` and ``size`` are those of the file in the package, None when it does not say. ``placeholder``
    is the text that stands for the prefix, "" when there is none, and ``mode`` how it is replaced.
    """

    path: str
    kind: Literal["file", "symlink", "dir"]
    sha256: str | None = None
    size: int | None = None
    placeholder: str = ""
    mode: Literal["text", "binary"] = "text"


@dataclass(frozen=True, slots=True)
class CondaInfo:
    """A package's description.

    ``index`` is its ``index.json``; ``python`` says that it is a Python package for every architecture, with
    ``entry_points`` (``name = module:function``).
    """

    index: dict[str, Any]
    paths: tuple[PathEntry, ...]
    python: bool
    entry_points: tuple[str, ...]


def read_info(archive: CondaArchive) -> CondaInfo:
    """The description of an unpacked package.

    Raises:
        RepoError: a part is missing or is not what it should be.
    """
    try:
        index = _object(archive, "info/index.json")
        if index is None:
            raise damaged(archive.filename, "it has no info/index.json")
        noarch = index.get("noarch")
        link = _object(archive, "info/link.json") or {}
        scripts = cast("dict[str, Any]", link.get("noarch") or {}).get("entry_points") or []
        return CondaInfo(
            index=index,
            paths=tuple(sorted(_paths(archive), key=lambda entry: entry.path)),
            python=noarch == "python",
            entry_points=tuple(map(_text, scripts)),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = f"its description cannot be read ({type(error).__name__}: {error})"
        raise damaged(archive.filename, reason) from error


def _object(archive: CondaArchive, path: str) -> dict[str, Any] | None:
    text = archive.info(path)
    if text is None:
        return None
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError(f"{path} is not an object")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _paths(archive: CondaArchive) -> list[PathEntry]:
    described = _object(archive, "info/paths.json")
    if described is None:
        return _old_paths(archive)
    if described.get("paths_version") != 1:
        raise ValueError(f"paths.json has the unknown version {described.get('paths_version')!r}")
    entries = []
    for row in described["paths"]:
        if row.get("no_link"):
            continue
        placeholder = row.get("prefix_placeholder") or ""
        size = row.get("size_in_bytes")
        if size is not None and not isinstance(size, int):
            raise TypeError(f"{size!r} is not a size")
        sha256 = row.get("sha256")
        entries.append(
            PathEntry(
                path=_text(row["_path"]),
                kind=_KINDS[row["path_type"]],
                sha256=None if sha256 is None else _text(sha256),
                size=size,
                placeholder=_text(placeholder),
                mode=_mode(row.get("file_mode")) if placeholder else "text",
            )
        )
    return entries


def _mode(value: object) -> Literal["text", "binary"]:
    if value == "binary":
        return "binary"
    if value == "text":
        return "text"
    raise ValueError(f"{value!r} is no mode of a file with a prefix")


def _old_paths(archive: CondaArchive) -> list[PathEntry]:
    """The same from the files that were there before ``paths.json``."""
    listed = archive.info("info/files")
    if listed is None:
        raise ValueError("there is neither paths.json nor files")
    prefixed: dict[str, tuple[str, Literal["text", "binary"]]] = {}
    for line in _lines(archive.info("info/has_prefix")):
        words = shlex.split(line)  # names with spaces are in quotes
        if len(words) == 3:
            prefixed[words[2]] = words[0], _mode(words[1])
        else:
            prefixed[line] = _OLD_PLACEHOLDER, "text"
    left_out = set(_lines(archive.info("info/no_link")))
    entries = []
    for path in _lines(listed):
        if path in left_out or path.startswith("info/"):
            continue
        member = archive.members.get(path)
        if member is None:
            raise ValueError(f"{path} is listed and missing")
        placeholder, mode = prefixed.get(path, ("", "text"))
        entries.append(PathEntry(path, member.kind, placeholder=placeholder, mode=mode))
    return entries


def _lines(text: bytes | None) -> list[str]:
    return [line for line in (text or b"").decode("utf-8").splitlines() if line.strip()]
