"""Reading ``.deb`` files (deb(5)): an ``ar`` archive of a version, a control tar and a data tar.

Reads forward only and never writes: what becomes of the members is the caller's business. Imports nothing
of envbuild but its errors, so that :mod:`envbuild.base` may use it too.
"""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, cast

import zstandard

from envbuild.errors import RemoteError

__all__ = ["DebFile", "Member", "merge_usr", "open_deb"]

_MAGIC = b"!<arch>\n"
_HEADER_SIZE = 60
_CONTROL_LIMIT = 32_000_000  # unpacked bytes
_DATA_LIMIT = 4_000_000_000
_MEMBERS_LIMIT = 500_000
_MERGED = (b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32")
# Scripts of deb-*(5) that run when a package is installed; prerm and postrm only when it goes away.
_INSTALL_SCRIPTS = ("preinst", "postinst", "config")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a package.

    ``path`` is relative, without ``.`` or ``..`` parts. A hard link's ``target`` is the path of another
    member that came before it, a symbolic link's is as stored. ``data`` are a file's bytes.
    """

    path: bytes
    kind: Literal["file", "dir", "symlink", "hardlink"]
    mode: int
    data: bytes = b""
    target: bytes = b""


@dataclass(frozen=True, slots=True)
class DebFile:
    """A package that is open for reading.

    ``control`` is its control file, ``control_files`` everything in the control tar (``postinst``,
    ``triggers``, ``conffiles``, ``md5sums``, ``control`` itself), ``scripts`` the names of those that would
    run on installation.
    """

    control: dict[str, str]
    control_files: dict[str, bytes]
    scripts: tuple[str, ...]
    _data: Callable[[], Iterator[Member]] = field(repr=False)

    def members(self) -> Iterator[Member]:
        """The package's files in the order they are stored. Can be iterated once, while the package is open.

        Raises:
            RemoteError: a path leaves the root, a device or FIFO, or the archive is damaged.
        """
        return self._data()


def merge_usr(path: bytes) -> bytes:
    """Where ``path`` really is on a system with merged ``/usr``.

    >>> merge_usr(b"lib/x86_64-linux-gnu/libc.so.6"), merge_usr(b"lib64"), merge_usr(b"libexec/x")
    (b'usr/lib/x86_64-linux-gnu/libc.so.6', b'usr/lib64', b'libexec/x')
    """
    return b"usr/" + path if path.partition(b"/")[0] in _MERGED else path


@contextmanager
def open_deb(path: Path) -> Iterator[DebFile]:
    """Open the package at ``path``.

    Raises:
        RemoteError: it is not a package, or a part of it is damaged.
    """
    with path.open("rb") as stream, _damage(path):
        parts = _ar_members(stream)
        name, part = next(parts)
        if name != "debian-binary" or not part.read(16).startswith(b"2."):
            raise _damaged(path, "not a Debian package of format 2")
        name, part = next(parts)
        while name.startswith("_"):  # deb(5): such members are to be ignored
            name, part = next(parts)
        if not name.startswith("control.tar"):
            raise _damaged(path, "no control archive")
        with _tar(name, part) as archive:
            control_files = _control_files(archive, path)
        name, part = next(parts)
        while name.startswith("_"):
            name, part = next(parts)
        if not name.startswith("data.tar"):
            raise _damaged(path, "no data archive")

        def members() -> Iterator[Member]:
            with _damage(path), _tar(name, part) as archive:
                yield from _members(archive, path)

        yield DebFile(
            control=_control_fields(control_files.get("control", b"").decode("utf-8", "replace")),
            control_files=control_files,
            scripts=tuple(script for script in _INSTALL_SCRIPTS if script in control_files),
            _data=members,
        )


def _damaged(path: Path, reason: str) -> RemoteError:
    return RemoteError(
        f"the Debian package {path.name} cannot be used: {reason}",
        code="bad-deb",
        remedy="run `envbuild lock --upgrade-base`",
    )


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
        raise _damaged(path, str(error) or type(error).__name__) from error
    except (StopIteration, EOFError) as error:
        raise _damaged(path, "it ends too early") from error


class _Part(io.RawIOBase):
    """One member of an ``ar`` archive as a stream."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream = stream
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(min(len(buffer), self.left))
        if not data and self.left:
            raise EOFError
        self.left -= len(data)
        buffer[: len(data)] = data
        return len(data)


def _ar_members(stream: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of each member; each content must be done with before the next one is asked for."""
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise EOFError
    while header := stream.read(_HEADER_SIZE):
        if len(header) != _HEADER_SIZE or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
            raise EOFError
        start, size = stream.tell(), int(header[48:58])
        yield (
            header[:16].decode("ascii", "replace").strip().rstrip("/"),
            io.BufferedReader(_Part(stream, size)),
        )
        stream.seek(start + size + size % 2)


@contextmanager
def _tar(name: str, part: IO[bytes]) -> Iterator[tarfile.TarFile]:
    unpacked: IO[bytes]
    match name.removeprefix("control.tar").removeprefix("data.tar"):
        case "":
            unpacked = part
        case ".gz":
            unpacked = cast(IO[bytes], gzip.GzipFile(fileobj=part))
        case ".xz":
            unpacked = lzma.LZMAFile(part)  # noqa: SIM115 (closed below)
        case ".zst":
            unpacked = zstandard.ZstdDecompressor().stream_reader(part)
        case other:
            raise tarfile.ReadError(f"unknown compression {other}")
    with closing(unpacked), tarfile.open(fileobj=unpacked, mode="r|", encoding="utf-8") as archive:
        yield archive


def _relative(name: str, path: Path) -> bytes:
    """A member's name without ``./``; empty for the root itself."""
    raw = name.encode("utf-8", "surrogateescape")
    parts = [one for one in raw.split(b"/") if one not in (b"", b".")]
    if raw.startswith(b"/") or b".." in parts or b"\0" in raw:
        raise _damaged(path, f"it has the unsafe path {name!r}")
    return b"/".join(parts)


def _control_files(archive: tarfile.TarFile, path: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    total = 0
    for info in archive:
        name = _relative(info.name, path).decode("utf-8", "replace")
        total += info.size
        if total > _CONTROL_LIMIT:
            raise _damaged(path, "its control archive is too large")
        if info.isreg() and "/" not in name:
            files[name] = _read(archive, info)
    return files


def _read(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(info)
    assert stream is not None, "only called for regular files"
    return stream.read()


def _members(archive: tarfile.TarFile, path: Path) -> Iterator[Member]:
    total = 0
    for count, info in enumerate(archive):
        name = _relative(info.name, path)
        total += info.size
        if total > _DATA_LIMIT or count > _MEMBERS_LIMIT:
            raise _damaged(path, "it unpacks to too much")
        if not name:
            continue
        if info.isreg():
            yield Member(name, "file", info.mode, data=_read(archive, info))
        elif info.isdir():
            yield Member(name, "dir", info.mode)
        elif info.issym():
            yield Member(name, "symlink", 0o777, target=info.linkname.encode("utf-8", "surrogateescape"))
        elif info.islnk():
            yield Member(name, "hardlink", info.mode, target=_relative(info.linkname, path))
        else:
            raise _damaged(path, f"{info.name!r} is neither a file, a directory nor a link")


def _control_fields(text: str) -> dict[str, str]:
    """The fields of a control file (deb822(5)); continuation lines are kept with their line breaks."""
    fields: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line[:1] in (" ", "\t"):
            fields[name] = f"{fields.get(name, '')}\n{line}"
        elif ":" in line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    return fields
