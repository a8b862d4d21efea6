"""Chunks of bytes as a file that can be read."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import IO, cast

__all__ = ["as_file"]

_BUFFER = 1 << 20


def as_file(chunks: Iterable[bytes]) -> IO[bytes]:
    """A file with the content of ``chunks``, which are asked for as they are needed.

    >>> as_file([b"ab", b"", b"cd"]).read(3)
    b'abc'
    """
    return cast(IO[bytes], io.BufferedReader(_Chunks(chunks), _BUFFER))


class _Chunks(io.RawIOBase):
    def __init__(self, chunks: Iterable[bytes]) -> None:
        super().__init__()
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
