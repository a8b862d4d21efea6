"""What changed in a running environment, as it is told by what ran there: checked, and limited."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from packaging.version import InvalidVersion, Version

from envbuild.pack import recipe
from envbuild.source.text import printable, redact
from envbuild.spec.pep508 import canonical_name, parse_requirement

__all__ = ["Change", "Origin", "read_changes", "to_json"]

_MOST = 2000
_LONGEST = 100
_LONGEST_URL = 1000
# PEP 508, and what conda allows beside that.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_CONDA_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
_CONDA_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._!+]*")
_URL = re.compile(r"(?:https?|ssh|file)://[A-Za-z0-9._~%!$&'()*+,=:@/\[\]-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]*")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a package came from that is not from an index (PEP 610).

    ``kind`` is ``"git"``, ``"archive"`` or ``"directory"``; ``location`` an address without credentials, or
    the path of a directory in the repository ("." for its root, "/" when it is elsewhere). ``revision`` is a
    commit. ``private`` tells that credentials were left out.
    """

    kind: Literal["git", "archive", "directory"]
    location: str
    revision: str | None = None
    folder: str | None = None
    editable: bool = False
    private: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One package that is another one than in the image.

    ``name`` is canonical. ``before`` and ``after`` are versions, None where it is not there. ``place`` is
    ``"environment"``, ``"user"`` (the user's site-packages) or the path of a directory it was installed into.
    ``requested`` is false for what only another package needs. ``origin`` is None for an index.
    """

    name: str
    before: str | None
    after: str | None
    manager: Literal["pip", "conda"] = "pip"
    place: str = "environment"
    requested: bool = True
    origin: Origin | None = None

    @property
    def kind(self) -> Literal["added", "removed", "changed"]:
        """What happened to it."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


def to_json(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """For documents and records; :func:`read_changes` reads it."""
    return [{"change": change.kind, **asdict(change)} for change in changes]


def read_changes(value: object) -> tuple[Change, ...]:
    """The changes in ``value`` (a list of what :mod:`envbuild.drift.observer` or :func:`to_json` makes).

    Whatever is not what an installer could have left is not among them: it was written by somebody else.
    Sorted by manager, name and place.
    """
    items = value if isinstance(value, list) else []
    read = (_read(item) for item in items[:_MOST] if isinstance(item, dict))
    found = {(change.manager, change.name, change.place): change for change in read if change is not None}
    # conda's packages leave in site-packages what pip's do.
    by_conda = {
        (name, found[manager, name, place].kind) for manager, name, place in found if manager == "conda"
    }
    return tuple(
        change
        for key, change in sorted(found.items())
        if change.manager == "conda" or (change.name, change.kind) not in by_conda
    )


def _read(item: Mapping[str, Any]) -> Change | None:
    manager: Literal["pip", "conda"] = "conda" if item.get("manager") == "conda" else "pip"
    name, place = item.get("name"), item.get("place")
    if not isinstance(name, str) or len(name) > _LONGEST or not isinstance(place, str) or len(place) > 1000:
        return None
    if manager == "pip":
        # An archive's name is a valid name as well, but to every installer it is a file.
        if not _NAME.fullmatch(name) or parse_requirement(name) is None or item.get("installer") == "conda":
            return None
        name = canonical_name(name)
    elif not _CONDA_NAME.fullmatch(name):
        return None
    try:
        before, after = (_version(item.get(key), manager) for key in ("before", "after"))
    except ValueError:
        return None
    origin = _origin(item.get("origin")) if after else None
    if before == after and (origin is None or origin.kind == "directory"):
        return None  # the repository's own project, installed again
    if place not in ("environment", "user"):
        place = printable(place) if place.startswith("/") else "environment"
    return Change(name, before, after, manager, place, bool(item.get("requested")), origin)


def _version(value: object, manager: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise ValueError
    if manager == "pip":
        return str(Version(value))
    if not _CONDA_VERSION.fullmatch(value):
        raise InvalidVersion(value)
    return value


def _origin(value: object) -> Origin | None:
    """What a ``direct_url.json`` or an :class:`Origin` as JSON says; None when that is nothing safe."""
    if not isinstance(value, dict):
        return None
    if "location" in value:
        return _kept(value)
    url = value.get("url")
    vcs, folder = value.get("vcs_info"), value.get("subdirectory")
    directory = value.get("dir_info")
    if not isinstance(url, str):
        return None
    if isinstance(directory, dict):
        return _directory(url, editable=directory.get("editable") is True)
    kept = {"location": redact(url), "private": redact(url) != url, "folder": folder}
    if isinstance(vcs, dict):
        return (
            _kept({"kind": "git", "revision": vcs.get("commit_id"), **kept})
            if vcs.get("vcs") == "git"
            else None
        )
    return _kept({"kind": "archive", **kept})


def _directory(url: str, *, editable: bool) -> Origin | None:
    root = f"file:///{recipe.REPO_DIR}"
    path = url.removeprefix(root).strip("/")
    if not (url == root or url.startswith(root + "/")) or (path and not _FOLDER.fullmatch(path)):
        path = "/"  # somewhere that is gone when the session is
    return Origin("directory", path or ".", editable=editable)


def _kept(value: Mapping[str, Any]) -> Origin | None:
    kind, location = value.get("kind"), value.get("location")
    revision, folder = value.get("revision"), value.get("folder")
    if kind not in ("git", "archive", "directory") or not isinstance(location, str):
        return None
    if kind == "directory":
        if location not in (".", "/") and not _FOLDER.fullmatch(location):
            return None
        return Origin("directory", location, editable=value.get("editable") is True)
    if len(location) > _LONGEST_URL or not _URL.fullmatch(location):
        return None
    if revision is not None and not (isinstance(revision, str) and _COMMIT.fullmatch(revision)):
        return None
    if folder is not None and not (isinstance(folder, str) and _FOLDER.fullmatch(folder)):
        return None
    if ".." in f"{folder}".split("/"):
        return None
    private = value.get("private") is True or redact(location) != location
    return Origin("git" if kind == "git" else "archive", location, revision, folder, private=private)
