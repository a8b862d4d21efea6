"""A disk on which the n-th change fails: for whoever wants to know what is left then."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

__all__ = ["FaultyDisk"]

_CHANGES = ("mkdir", "mknod", "rename", "replace", "link", "symlink", "write")


class FaultyDisk:
    """Counts what changes files (also the flushing of buffers), and fails one of these with an error number.

    Removing always works, as it does on disks that are full.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.changes = 0
        self._fails_at = 0
        self._number = 0

    @contextmanager
    def failing(self, at: int, number: int) -> Iterator[None]:
        """While the block runs, the change number ``at`` (from 1) fails with ``number``."""
        self.changes, self._fails_at, self._number = 0, at, number
        with self._monkeypatch.context() as patch:
            self._install(patch)
            yield

    @property
    def failed(self) -> bool:
        """Whether the change that was to fail was reached."""
        return self.changes >= self._fails_at

    def count(self) -> None:
        """One more change, which may fail."""
        self.changes += 1
        if self.changes == self._fails_at:
            raise OSError(self._number, os.strerror(self._number))

    def _install(self, patch: pytest.MonkeyPatch) -> None:
        disk = self

        class File(io.FileIO):
            def write(self, data: Any, /) -> int:
                disk.count()
                return super().write(data)

        real_open, real_stream = os.open, io.open

        def opened(path: Any, flags: int, *rest: Any, **options: Any) -> int:
            if flags & os.O_CREAT:
                disk.count()
            return real_open(path, flags, *rest, **options)

        def stream(name: Any, mode: str = "r", buffering: int = -1, *rest: Any, **options: Any) -> Any:
            if not set(mode) & set("wxa+"):
                return real_stream(name, mode, buffering, *rest, **options)
            if not isinstance(name, int):
                disk.count()
            file = File(name, mode.replace("b", "").replace("t", ""))
            writer = io.BufferedRandom(file) if "+" in mode else io.BufferedWriter(file)
            return writer if "b" in mode else io.TextIOWrapper(writer)

        for name in _CHANGES:
            patch.setattr(os, name, self._counted(getattr(os, name)))
        patch.setattr(os, "open", opened)
        patch.setattr(io, "open", stream)
        patch.setattr("builtins.open", stream)

    def _counted(self, change: Any) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.count()
            return change(*arguments, **options)

        return counted
