"""Every error envbuild raises on purpose, and the exit code each one means.

::

    EnvbuildError
    ├── RepoError      exit 1   the repository's fault; names file and line
    ├── UsageError     exit 2   wrong command line or configuration
    ├── MachineError   exit 3   this machine lacks something; says what to do
    │   └── DamagedError        what was damaged in the cache is removed: the same once more makes it anew
    └── RemoteError    exit 4   a registry, index or mirror failed

Library code raises these; only :mod:`envbuild.cli` prints them and exits.
"""

from __future__ import annotations

from typing import Any

__all__ = ["DamagedError", "EnvbuildError", "MachineError", "RemoteError", "RepoError", "UsageError"]


class EnvbuildError(Exception):
    """An error with a place and a remedy.

    Parameters:
        message: one sentence without a trailing full stop; must not contain credentials.
        code: stable kebab-case identifier for machines (``error`` in ``--json``).
        file: where, relative to the repository (or absolute when outside of it).
        line: 1-based line number in ``file``.
        remedy: what the user can do about it, as an imperative sentence.
        detail: longer text (a resolver's reason, a traceback of a notebook cell).
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        code: str,
        file: str | None = None,
        line: int | None = None,
        remedy: str | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.file = file
        self.line = line
        self.remedy = remedy
        self.detail = detail

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors travel from worker processes; Exception's own way forgets keyword arguments.
        details = {name: getattr(self, name) for name in ("code", "file", "line", "remedy", "detail")}
        return _rebuild, (type(self), self.message, details)

    @property
    def place(self) -> str:
        """``file:line``, ``file`` or the empty string."""
        if self.file is None:
            return ""
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message

    def to_json(self) -> dict[str, Any]:
        """The error document printed under ``--json`` (docs/schemas.md)."""
        return {
            "error": self.code,
            "message": self.message,
            "file": self.file,
            "line": self.line,
            "remedy": self.remedy,
            "detail": self.detail,
            "exit_code": self.exit_code,
        }


def _rebuild(kind: type[EnvbuildError], message: str, details: dict[str, Any]) -> EnvbuildError:
    return kind(message, **details)


class RepoError(EnvbuildError):
    """Something in the repository is wrong, missing or not supported."""

    exit_code = 1


class UsageError(EnvbuildError):
    """The command line or the configuration is wrong."""

    exit_code = 2


class MachineError(EnvbuildError):
    """This machine lacks something that envbuild needs."""

    exit_code = 3


class DamagedError(MachineError):
    """Something in the cache was not what its name says, and is gone now: doing the same again mends it."""


class RemoteError(EnvbuildError):
    """An index, a mirror or a registry failed or lied."""

    exit_code = 4
