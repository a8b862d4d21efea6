"""Which notebooks of a repository the user means."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from envbuild.errors import UsageError
from envbuild.notebook.places import EXECUTED
from envbuild.source import Repo, printable
from envbuild.source.patterns import git_pattern
from envbuild.spec.notebook import is_executed_copy

__all__ = ["is_pattern", "select_notebooks"]

_SPECIAL = re.compile(r"[\\*?\[]")


def is_pattern(given: str) -> bool:
    """Whether ``given`` is a pattern and not a path.

    >>> is_pattern("maps/**/*.ipynb"), is_pattern("maps/plot.ipynb")
    (True, False)
    """
    return _SPECIAL.search(given) is not None


def select_notebooks(
    repo: Repo, given: Sequence[str], directory: Path, output: Path | None = None
) -> tuple[str, ...]:
    """The notebooks that are meant by ``given``, relative to ``repo``: in that order, and each once.

    Parameters:
        given: notebooks, directories (all notebooks below), or patterns (``*``, ``?``, ``[...]``, and ``**``
            for any directories); relative to the repository, or to ``directory`` (as a shell completes it).
            When it is empty, all notebooks of the repository are meant.
        output: where results go; what is there is none, nor is what was executed before.

    Raises:
        UsageError: there is no such notebook in the repository.
        RepoError: the repository cannot be read.
    """
    chosen = _Chooser(repo, directory, output)
    found: dict[str, None] = {}
    for one in given or ("",):
        found |= dict.fromkeys(chosen.meant_by(one))
    return tuple(found)


class _Chooser:
    def __init__(self, repo: Repo, directory: Path, output: Path | None) -> None:
        self._repo = repo
        self._directory = directory
        self._output = _inside(repo, directory / output) if output is not None else None
        self._known: tuple[str, ...] | None = None

    def meant_by(self, given: str) -> list[str]:
        """The notebooks that ``given`` means; the empty text means all."""
        if not given:
            return self._some(self._all(), f"there is no notebook in {self._where}")
        path = self._path(given)
        if path is not None and not (self._repo.root / path).is_dir():
            return [path]
        if path is not None:
            below = [one for one in self._all() if path == "." or one.startswith(path + "/")]
            return self._some(below, f"there is no notebook below {printable(given)!r} in {self._where}")
        if is_pattern(given):
            missing = f"no notebook in {self._where} fits {printable(given)!r}"
            return self._some(self._fitting(given), missing)
        raise _error(f"{printable(given)!r} is not in {self._where}")

    def _path(self, given: str) -> str | None:
        """``given`` relative to the repository; None when there is nothing."""
        path = Path(given)
        if not path.is_absolute() and self._repo.exists(given):
            return path.as_posix()
        inside = _inside(self._repo, self._directory / path)
        return inside if inside is not None and self._repo.exists(inside) else None

    def _fitting(self, given: str) -> list[str]:
        # From the repository's top, and if that gives nothing from where the user is.
        here = _inside(self._repo, self._directory)
        prefix = "" if here in (None, ".") else re.sub(r"([\\*?\[])", r"\\\1", str(here)) + "/"
        for text in dict.fromkeys((given, prefix + given)):
            pattern = git_pattern("/" + text.removeprefix("./").encode().decode("latin-1"))
            fitting = [
                path
                for path in self._all()
                if pattern is not None
                and pattern.matches(tuple(os.fsencode(path).decode("latin-1").split("/")))
            ]
            if fitting:
                return fitting
        return []

    def _all(self) -> tuple[str, ...]:
        if self._known is None:
            below = f"{self._output}/" if self._output not in (None, ".") else None
            paths = [os.fsdecode(file.path) for file in self._repo.files() if file.kind == "file"]
            found = [
                path
                for path in paths
                if path.endswith(".ipynb")
                and not path.endswith(EXECUTED)
                and not (below is not None and path.startswith(below))
            ]
            others = {printable(path) for path in found}
            self._known = tuple(path for path in found if not is_executed_copy(self._repo, path, others))
        return self._known

    @property
    def _where(self) -> str:
        origin = self._repo.origin
        return f"the repository {origin.url if origin else printable(str(self._repo.root))}"

    @staticmethod
    def _some(found: Sequence[str], otherwise: str) -> list[str]:
        if not found:
            raise _error(otherwise)
        return list(found)


def _error(message: str) -> UsageError:
    return UsageError(
        message, code="no-such-notebook", remedy="give a notebook's path relative to the repository"
    )


def _inside(repo: Repo, path: Path) -> str | None:
    """``path`` relative to the repository; None when it is elsewhere."""
    absolute = Path(os.path.normpath(path.absolute()))
    return absolute.relative_to(repo.root).as_posix() if absolute.is_relative_to(repo.root) else None
