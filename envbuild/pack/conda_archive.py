"""Reading conda packages: ``.conda`` (a zip file of two zstandard tars) and ``.tar.bz2``.

Both are unpacked to plain tar files in a scratch directory, from which members are read when they are needed;
what becomes of them is the caller's business. Formats: conda's package specification and CEP 11's
``.conda``.
"""

from __future__ import annotations

import bz2
import errno
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, cast

import zstandard

from envbuild.errors import RepoError

__all__ = ["CondaArchive", "Member", "damaged", "open_conda"]

_CHUNK = 1 << 20
_UNPACKED_LIMIT = 16_000_000_000  # bytes; packages with CUDA have several gigabytes
_MEMBERS_LIMIT = 500_000
_INFO_LIMIT = 256_000_000  # bytes of one file of info/; paths.json has some 300 for every file


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a package: ``size`` bytes at ``offset`` of the tar file ``tar``.

    ``mtime`` is in whole seconds. ``target`` is a symbolic link's, as stored.
    """

    kind: Literal["file", "dir", "symlink"]
    tar: Path
    offset: int = 0
    size: int = 0
    mtime: int = 0
    executable: bool = False
    target: bytes = b""

    def chunks(self) -> Iterator[bytes]:
        """The file's bytes, in order."""
        left = self.size
        with self.tar.open("rb") as stream:
            stream.seek(self.offset)
            while left and (chunk := stream.read(min(left, _CHUNK))):
                left -= len(chunk)
                yield chunk

    def read(self) -> bytes:
        """All of the file's bytes."""
        return b"".join(self.chunks())


@dataclass(frozen=True, slots=True)
class CondaArchive:
    """An unpacked package; ``members`` are its files by path, those of ``info/`` among them."""

    filename: str
    members: dict[str, Member] = field(repr=False)

    def info(self, path: str) -> bytes | None:
        """A file that describes the package (``info/index.json``), None when it has none of that name.

        Raises:
            RepoError: it is too large to be that.
        """
        member = self.members.get(path)
        if member is None or member.kind != "file":
            return None
        if member.size > _INFO_LIMIT:
            raise damaged(self.filename, f"{path} is too large")
        return member.read()


def damaged(filename: str, reason: str) -> RepoError:
    """The error for a package that breaks the format's rules."""
    return RepoError(
        f"the conda package {filename} is not valid: {reason}",
        code="bad-conda-package",
        remedy="report it to the package's maintainers, and lock another version of it",
    )


def open_conda(path: Path, filename: str, scratch: Path) -> CondaArchive:
    """Unpack the package at ``path``.

    Parameters:
        filename: its real name (the store names files by digest); the ending tells the format.
        scratch: an empty directory that must live until the members have been read.

    Raises:
        RepoError: it is damaged, unsafe, or unpacks to too much.
    """
    members: dict[str, Member] = {}
    budget = _UNPACKED_LIMIT
    with _damage(filename):
        for number, name in enumerate(_parts(path, filename)):
            place = scratch / f"{number}.tar"
            with _open_part(path, name) as stream:
                budget -= _copy(stream, place, budget, filename)
            members |= _members(place, budget, filename)
    return CondaArchive(filename, members)


def _parts(path: Path, filename: str) -> list[str]:
    """The tar files in a package by their names in the zip file; "" for that which a .tar.bz2 is."""
    if filename.endswith(".tar.bz2"):
        return [""]
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    parts = [name for name in names if name.startswith(("info-", "pkg-")) and name.endswith(".tar.zst")]
    if {name.partition("-")[0] for name in parts} != {"info", "pkg"} or len(parts) != 2:
        raise damaged(filename, "it does not consist of an info- and a pkg- archive")
    return sorted(parts)


@contextmanager
def _open_part(path: Path, name: str) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        if not name:
            yield stack.enter_context(bz2.open(path))
            return
        archive = stack.enter_context(zipfile.ZipFile(path))
        stored = stack.enter_context(archive.open(name))
        reader = zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True)
        yield cast("IO[bytes]", stack.enter_context(reader))


def _copy(stream: IO[bytes], place: Path, limit: int, filename: str) -> int:
    """Unpack to ``place``; returns the number of bytes."""
    total = 0
    with place.open("wb") as output:
        while chunk := stream.read(_CHUNK):
            total += len(chunk)
            if total > limit:
                raise damaged(filename, "it unpacks to too much")
            output.write(chunk)
    return total


@contextmanager
def _damage(filename: str) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zstandard.ZstdError, zlib.error) as error:
        raise damaged(filename, str(error) or type(error).__name__) from error
    except (EOFError, NotImplementedError, ValueError, RuntimeError, MemoryError) as error:
        raise damaged(filename, str(error) or type(error).__name__) from error
    except OSError as error:
        # bz2 has no error of its own, and zipfile goes wherever a damaged directory sends it. A full disk is
        # not the package's fault.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise damaged(filename, str(error)) from error


def _relative(name: str, filename: str) -> str:
    """A member's path without ``./``; empty for the root itself."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise damaged(filename, f"it has the unsafe path {name!r}")
    return "/".join(parts)


def _members(tar: Path, budget: int, filename: str) -> dict[str, Member]:
    members: dict[str, Member] = {}
    with tarfile.open(tar, "r:", encoding="utf-8") as archive:
        for count, info in enumerate(archive):
            # A negative size would make tarfile go back and read the same header for ever.
            if info.size < 0 or count > _MEMBERS_LIMIT:
                raise damaged(filename, "it has too many files, or one of negative size")
            path = _relative(info.name, filename)
            if info.islnk():
                original = members.get(_relative(info.linkname, filename))
                if original is None or original.kind != "file":
                    raise damaged(filename, f"{info.name!r} is a hard link to nothing")
                members[path] = original
            elif info.isreg():
                place, offset = tar, info.offset_data
                if info.issparse():  # its bytes are not in one piece
                    place, offset = tar.with_suffix(f".{count}"), 0
                    with cast("IO[bytes]", archive.extractfile(info)) as stream:
                        budget -= _copy(stream, place, budget, filename)
                executable = bool(info.mode & 0o111)
                members[path] = Member("file", place, offset, info.size, int(info.mtime), executable)
            elif info.issym():
                target = info.linkname.encode("utf-8", "surrogateescape")
                members[path] = Member("symlink", tar, target=target)
            elif info.isdir():
                members[path] = Member("dir", tar)
            else:
                raise damaged(filename, f"{info.name!r} is neither a file, a directory nor a link")
    return members
