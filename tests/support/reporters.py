"""A reporter that remembers."""

from __future__ import annotations

from envbuild.progress import Silent

__all__ = ["Messages"]


class Messages(Silent):
    """Collects what the library says."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, message: str) -> None:
        """See :meth:`envbuild.progress.Reporter.note`."""
        self.notes.append(message)

    def warn(self, message: str) -> None:
        """See :meth:`envbuild.progress.Reporter.warn`."""
        self.warnings.append(message)
