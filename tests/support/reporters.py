"""Reporters that remember."""

from __future__ import annotations

from envbuild.progress import Silent

__all__ = ["Counting", "Messages"]


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


class Counting:
    """A :class:`envbuild.progress.Stage` that adds up."""

    def __init__(self) -> None:
        self.total = 0
        self.done = 0
        self.cached = 0

    def add_total(self, amount: int) -> None:
        """See :meth:`envbuild.progress.Stage.add_total`."""
        self.total += amount

    def advance(self, amount: int, *, cached: bool = False) -> None:
        """See :meth:`envbuild.progress.Stage.advance`."""
        self.done += amount
        self.cached += amount if cached else 0

    def detail(self, text: str) -> None:
        """See :meth:`envbuild.progress.Stage.detail`."""
