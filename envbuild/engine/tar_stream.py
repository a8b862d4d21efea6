"""Reading the tar of a layer as it comes, with bounds on what its headers may make us hold in memory."""

from __future__ import annotations

import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import IO, Protocol, cast

from envbuild.progress import Stage

__all__ = ["Stream", "TarStream", "open_tar"]

_TAR_BYTES = 1 << 15  # tarfile copies what is left of its buffer at every read
_LARGEST_HEADER = 1 << 20  # long names and extended attributes are much smaller
_EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


class Stream(Protocol):
    """What a layer is read from."""

    def read(self, size: int, /) -> bytes:
        """Between 1 and ``size`` bytes, none at the end."""


class TarStream:
    """The file that :mod:`tarfile` reads a layer from; tells ``stage`` about the bytes that pass.

    Parameters:
        limit: bytes after which it is not read on.
        stopped: ends it from another thread.
    """

    def __init__(
        self, chunks: Iterator[bytes], stage: Stage, stopped: threading.Event, limit: int | None = None
    ) -> None:
        self.size = 0  # of what has passed
        self._chunks = chunks
        self._stage = stage
        self._stopped = stopped
        self._limit = limit
        self._chunk = b""
        self._read = 0  # bytes of the chunk

    def read(self, size: int) -> bytes:
        """Between 1 and ``size`` bytes, none at the end.

        Raises:
            ValueError: there is more than the limit.
        """
        if self._read == len(self._chunk):
            if self._stopped.is_set():
                raise CancelledError
            self._chunk = next((chunk for chunk in self._chunks if chunk), b"")
            self._read = 0
            self.size += len(self._chunk)
            self._stage.advance(len(self._chunk))
            if self._limit is not None and self.size > self._limit:
                raise ValueError(f"it unpacks to more than {self._limit} bytes")
        data = self._chunk[self._read : self._read + size]
        self._read += len(data)
        return data

    def finish(self) -> None:
        """Read what is left: the digest of what ``chunks`` yields is checked at the end."""
        while self.read(1 << 20):
            pass


def open_tar(stream: Stream) -> tarfile.TarFile:
    """The archive in ``stream``, to be read once from front to back."""
    return tarfile.open(
        fileobj=cast(IO[bytes], stream),
        mode="r|",
        bufsize=_TAR_BYTES,
        encoding="utf-8",
        errors="surrogateescape",
        tarinfo=_BoundedInfo,
    )


class _BoundedInfo(tarfile.TarInfo):
    """A header whose extensions are of a sane size: tarfile reads them into memory as a whole."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _EXTENSIONS and not 0 <= self.size <= _LARGEST_HEADER:
            raise tarfile.ReadError(f"an extended header of {self.size} bytes")
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return member
