"""``[build-system]`` of a source tree: which backend builds it, and what that needs (PEP 517, PEP 518)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import RepoError
from envbuild.source import Repo
from envbuild.source.text import quote
from envbuild.spec.pep508 import parse_requirement
from envbuild.spec.toml_file import parse_toml

__all__ = ["BuildSystem", "read_build_system"]

_FILE_LIMIT = 1 << 20
_BACKEND = re.compile(r"[A-Za-z_][\w.]*(?::[A-Za-z_][\w.]*)?", re.ASCII)
# What PEP 517 wants for projects that name no backend. Old releases of setuptools need `wheel` beside them.
_LEGACY_BACKEND = "setuptools.build_meta:__legacy__"
_LEGACY_REQUIRES = ("setuptools>=40.8.0", "wheel")
# Their editable wheels may need this at run time and at build time; they would say so only when asked.
_WITH_EDITABLES = frozenset({"hatchling.build", "pdm.backend"})


@dataclass(frozen=True, slots=True)
class BuildSystem:
    """``backend`` is ``module:object``, ``backend_path`` where in the tree it is looked for first, and
    ``requires`` are PEP 508 texts."""

    requires: tuple[str, ...] = _LEGACY_REQUIRES
    backend: str = _LEGACY_BACKEND
    backend_path: tuple[str, ...] = ()

    @property
    def requires_for_editable(self) -> tuple[str, ...]:
        """``requires``, and what the backend is known to ask for besides for editable wheels."""
        return (*self.requires, *(("editables",) if self.backend in _WITH_EDITABLES else ()))


def read_build_system(tree: Path, what: str) -> BuildSystem:
    """What ``tree``'s ``pyproject.toml`` says, or the default of PEP 517.

    Parameters:
        what: the project, for messages.

    Raises:
        RepoError: it is no Python project, or what it says cannot be used.
    """
    repo = Repo(tree.resolve())
    if not repo.exists("pyproject.toml"):
        if not repo.exists("setup.py") and not repo.exists("setup.cfg"):
            raise _bad(what, "it has neither a pyproject.toml nor a setup.py")
        return BuildSystem()
    try:
        table = parse_toml(repo, "pyproject.toml", _FILE_LIMIT).data.get("build-system")
    except RepoError as error:
        raise _bad(what, f"pyproject.toml: {error.message}") from error
    if table is None:
        return BuildSystem()
    requires = table.get("requires") if isinstance(table, dict) else None
    if not isinstance(requires, list) or not all(isinstance(text, str) for text in requires):
        raise _bad(what, "requires in its [build-system] is not a list of texts")
    for text in requires:
        if parse_requirement(text) is None:
            raise _bad(what, f"it needs {quote(text)} to be built, which is no package of an index")
    backend = table.get("build-backend", _LEGACY_BACKEND)
    path = table.get("backend-path", [])
    if not isinstance(backend, str) or not _BACKEND.fullmatch(backend):
        raise _bad(what, f"its build-backend {quote(str(backend))} is not the name of a module")
    if not isinstance(path, list) or not all(isinstance(part, str) and "\0" not in part for part in path):
        raise _bad(what, "backend-path in its [build-system] is not a list of texts")
    return BuildSystem(tuple(requires), backend, tuple(path))


def _bad(what: str, reason: str) -> RepoError:
    return RepoError(
        f"{what} cannot be built from source: {reason}",
        code="bad-build-system",
        remedy="use another version of it, or report it to its maintainers",
    )
