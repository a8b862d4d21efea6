"""``uv.lock``, read by uv itself in an empty directory: what it says for all targets, as a pylock."""

from __future__ import annotations

import posixpath
import re

from packaging.pylock import Pylock

from envbuild.errors import RepoError
from envbuild.lock.adopt.pylock import parse_lock
from envbuild.lock.uv_process import Uv, UvFailure
from envbuild.source.repo import Repo
from envbuild.spec.model import Adopted

__all__ = ["export_uv_lock"]

_MOST_PROJECT_BYTES = 4_000_000


def export_uv_lock(adopted: Adopted, data: bytes, repo: Repo, uv: Uv) -> Pylock:
    """The pylock of the ``uv.lock`` that is ``data``, with the extras and groups of ``adopted`` applied.

    Raises:
        RepoError: uv does not accept the lock, or it leads out of the repository.
    """
    folder = posixpath.dirname(adopted.path)
    files = {"uv.lock": data}
    for member in ("", *_members(adopted, data)):
        name = posixpath.join(member, "pyproject.toml")
        path = posixpath.join(folder, name)
        if member == "" or repo.exists(path):
            files[name] = repo.read(path, _MOST_PROJECT_BYTES)
            _check_workspace(path, files[name])
    options = ["--no-emit-project", "--no-default-groups"]
    options += [option for extra in adopted.extras for option in ("--extra", extra)]
    options += [option for group in adopted.groups for option in ("--group", group)]
    try:
        return uv.export(files, options=options)
    except UvFailure as failure:
        said = re.search(r"error: (.*(?:\n\s*(?:cause|Caused by): .*)*)", failure.reason)
        reason = " ".join((said[1] if said else failure.reason).split())
        raise RepoError(
            f"uv does not accept this lock: {reason[:300]}",
            code="bad-adopted-lock",
            file=adopted.path,
            remedy="run `uv lock` in the repository",
            detail=failure.reason,
        ) from failure


def _members(adopted: Adopted, data: bytes) -> list[str]:
    """The folders of the other local projects in a ``uv.lock``, relative to it."""
    table = parse_lock(adopted.path, data)
    folders = set()
    packages = table.get("package")
    for package in packages if isinstance(packages, list) else ():
        source = package.get("source") if isinstance(package, dict) else None
        for kind in ("editable", "virtual", "directory"):
            folder = source.get(kind) if isinstance(source, dict) else None
            if not isinstance(folder, str):
                continue
            normal = posixpath.normpath(folder)
            if normal.startswith(("/", "..")) or "\0" in normal:
                raise RepoError(
                    f"{folder[:100]!r} is outside of the repository",
                    code="outside-repository",
                    file=adopted.path,
                    remedy="keep the projects of the workspace inside of the repository",
                )
            folders.add(normal)
    return sorted(folders - {"."})


def _check_workspace(path: str, data: bytes) -> None:
    """Refuse patterns with which uv would look for projects outside of the copy it is given."""
    tool = parse_lock(path, data).get("tool")
    for key in ("uv", "workspace"):
        tool = tool.get(key) if isinstance(tool, dict) else None
    patterns = tool.get("members") if isinstance(tool, dict) else None
    for pattern in patterns if isinstance(patterns, list) else ():
        if isinstance(pattern, str) and (pattern.startswith("/") or ".." in pattern.split("/")):
            raise RepoError(
                f"the workspace pattern {pattern[:100]!r} leads out of the repository",
                code="outside-repository",
                file=path,
                remedy="keep the projects of the workspace inside of the repository",
            )
