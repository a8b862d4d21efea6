"""What reading finds on its way: problems and the fate of each file, collected instead of raised."""

from __future__ import annotations

from typing import Literal

from envbuild.errors import RepoError
from envbuild.source import printable
from envbuild.spec.model import FileUse, Problem, Spec

__all__ = ["NOT_SUPPORTED_REMEDY", "Findings", "refuse_errors"]

NOT_SUPPORTED_REMEDY = "put the files envbuild should use into a directory `binder/`, or remove this one"


class Findings:
    """Collects :class:`Problem` and :class:`FileUse`, so that one run names everything that is wrong."""

    def __init__(self) -> None:
        self._problems: dict[Problem, None] = {}
        self._files: dict[str, FileUse] = {}

    def error(
        self, code: str, message: str, file: str | None, line: int | None = None, remedy: str | None = None
    ) -> None:
        """Locking and building must refuse."""
        self._add("error", code, message, file, line, remedy)

    def warning(
        self, code: str, message: str, file: str | None, line: int | None = None, remedy: str | None = None
    ) -> None:
        """The user should act on this, though the work can go on."""
        self._add("warning", code, message, file, line, remedy)

    def note(
        self, code: str, message: str, file: str | None, line: int | None = None, remedy: str | None = None
    ) -> None:
        """The user may want to know this."""
        self._add("note", code, message, file, line, remedy)

    def failed(self, error: RepoError) -> None:
        """``error`` stopped the reading of one file; the others go on."""
        self._add("error", error.code, error.message, error.file, error.line, error.remedy)

    def not_supported(self, path: str, kind: str) -> None:
        """``path`` is a file of a known kind that envbuild cannot use yet."""
        self.error(
            "not-supported-yet", f"{kind} is not supported yet", printable(path), remedy=NOT_SUPPORTED_REMEDY
        )
        self.ignored(path, kind, "not supported yet")

    def used(self, path: str, kind: str, reason: str) -> None:
        """``path`` had a part in the result."""
        self._files[path] = FileUse(printable(path), kind, True, reason)

    def ignored(self, path: str, kind: str, reason: str) -> None:
        """``path`` is of a kind that could have had a part, and had none."""
        self._files.setdefault(path, FileUse(printable(path), kind, False, reason))

    def adopt(self, other: Findings) -> None:
        """Take over what another reader collected."""
        self._problems |= other._problems
        self._files |= other._files

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything found, errors first, then by place."""
        levels = {"error": 0, "warning": 1, "note": 2}
        return tuple(
            sorted(
                self._problems,
                key=lambda problem: (
                    levels[problem.level],
                    problem.file or "",
                    problem.line or 0,
                    problem.message,
                ),
            )
        )

    @property
    def files(self) -> tuple[FileUse, ...]:
        """The fate of every file of a known kind, by path."""
        return tuple(self._files[path] for path in sorted(self._files))

    def _add(
        self,
        level: Literal["error", "warning", "note"],
        code: str,
        message: str,
        file: str | None,
        line: int | None,
        remedy: str | None,
    ) -> None:
        self._problems[Problem(level, code, message, file, line, remedy)] = None


def refuse_errors(spec: Spec, *, strict: bool = False) -> None:
    """Raise for the errors that reading the repository found: the first one, the others as its detail.

    Parameters:
        strict: warnings count as errors.

    Raises:
        RepoError: there is one.
    """
    refused = ("error", "warning") if strict else ("error",)
    errors = [problem for problem in spec.problems if problem.level in refused]
    if not errors:
        return
    first, *others = [
        RepoError(
            problem.message, code=problem.code, file=problem.file, line=problem.line, remedy=problem.remedy
        )
        for problem in errors
    ]
    if others:
        first.detail = "\n".join(["also:", *(str(error) for error in others)])
    raise first
