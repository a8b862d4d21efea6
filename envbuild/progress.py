"""How long work tells what it is doing; the command line decides how that looks.

Library code gets a :class:`Reporter` and opens stages on it. It never prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["Reporter", "Silent", "Stage"]


class Stage(Protocol):
    """One running stage: ``fetch``, ``pack``, ..."""

    def add_total(self, amount: int) -> None:
        """Announce ``amount`` more units (bytes, unless the stage says otherwise) of work."""

    def advance(self, amount: int, *, cached: bool = False) -> None:
        """``amount`` units are done; ``cached`` when nothing had to be done for them."""

    def detail(self, text: str) -> None:
        """What is being worked on right now (a package, a layer)."""


class Reporter(Protocol):
    """Receives stages and messages from library code. Methods may be called from any thread."""

    @contextmanager
    def stage(self, name: str, *, unit: str = "B") -> Iterator[Stage]:
        """Open the stage ``name`` (``lock``, ``fetch``, ``pack``, ``unpack``, ``load``, ``start``).

        ``unit`` is ``"B"`` for bytes or a plural noun (``"packages"``). Seconds per stage are recorded.
        """
        raise AssertionError("protocol")

    def note(self, message: str) -> None:
        """Something the user may want to know."""

    def warn(self, message: str) -> None:
        """Something the user should act on, though the work goes on."""


class _SilentStage:
    def add_total(self, amount: int) -> None:
        pass

    def advance(self, amount: int, *, cached: bool = False) -> None:
        pass

    def detail(self, text: str) -> None:
        pass


class Silent:
    """A :class:`Reporter` that says nothing (tests, library use)."""

    @contextmanager
    def stage(self, name: str, *, unit: str = "B") -> Iterator[Stage]:
        """See :meth:`Reporter.stage`."""
        yield _SilentStage()

    def note(self, message: str) -> None:
        """See :meth:`Reporter.note`."""

    def warn(self, message: str) -> None:
        """See :meth:`Reporter.warn`."""
