"""zip and tar files as sources: unpacked so that they write nothing outside of one directory.

No member is trusted: names that lead out, links that point out, devices, members that lie below a link or a
file, and archives that unpack to far more than they are, are refused.
"""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import lzma
import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from envbuild.errors import RepoError
from envbuild.source.text import printable

__all__ = ["unpack"]

_CHUNK = 1 << 20
_MOST_MEMBERS = 1_000_000
_MOST_BYTES = 50 * 10**9
# An archive may be this many times smaller than what is in it, unless that is little anyway.
_MOST_RATIO = 200
_LITTLE = 10**9
_LONGEST_LINK = 4096
_LONGEST_HEADER = 16 << 20
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)


@dataclass(frozen=True, slots=True)
class _Member:
    """One entry; ``handle`` is what the reader knows it by."""

    path: str
    kind: Literal["file", "dir", "symlink"]
    size: int
    executable: bool
    handle: Any


def unpack(archive: Path, target: Path, *, name: str) -> Path:
    """Unpack ``archive`` into the empty directory ``target``.

    Parameters:
        name: the archive's name, for messages.

    Returns:
        The directory that holds the files: ``target``, or the only directory at the archive's top.

    Raises:
        RepoError: it is damaged, no zip or tar file, or not safe.
        OSError: as the file system reports it.
    """
    limit = min(_MOST_BYTES, max(_LITTLE, archive.stat().st_size * _MOST_RATIO))
    try:
        with archive.open("rb") as stream:
            if zipfile.is_zipfile(stream):
                with zipfile.ZipFile(stream) as opened:
                    _write(_zip_members(opened, name), opened.open, target, name, limit)
            else:
                with contextlib.closing(_decompressed(stream)) as plain:
                    bounded: Any = _Bounded(plain)
                    with tarfile.open(fileobj=bounded, mode="r:") as opened_tar:
                        _write(_tar_members(opened_tar, name), opened_tar.extractfile, target, name, limit)
    except _DAMAGE as error:
        raise _damaged(name) from error
    except OSError as error:
        # bz2 has no error of its own, and zipfile goes wherever a damaged directory sends it.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise _damaged(name) from error
    top = sorted(target.iterdir())
    return top[0] if len(top) == 1 and top[0].is_dir() and not top[0].is_symlink() else target


def _decompressed(stream: IO[bytes]) -> Any:
    stream.seek(0)  # looking for the end of a zip file moved it
    magic = stream.read(6)
    stream.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=stream)
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(stream)
    if magic == b"\xfd7zXZ\0":
        return lzma.LZMAFile(stream)
    return stream


class _Bounded:
    """A stream that is never read in one piece of any size: tar has headers that say how long they are."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.seek = stream.seek
        self.tell = stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise ValueError("a header is too long")
        data: bytes = self._stream.read(size)
        return data


def _zip_members(archive: zipfile.ZipFile, name: str) -> Iterator[_Member]:
    for info in archive.infolist():
        mode = info.external_attr >> 16
        kind: Literal["file", "dir", "symlink"] = "file"
        if info.is_dir():
            kind = "dir"
        elif stat.S_ISLNK(mode):
            kind = "symlink"
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise _refused(name, "it has a pipe, socket or device", info.filename)
        if info.flag_bits & 1:
            raise _refused(name, "it is encrypted", info.filename)
        yield _Member(info.filename, kind, info.file_size, bool(mode & 0o100), info)


def _tar_members(archive: tarfile.TarFile, name: str) -> Iterator[_Member]:
    for info in archive:
        executable = bool(info.mode & 0o100)
        if info.isdir():
            yield _Member(info.name, "dir", 0, False, info)
        elif info.isreg() or info.islnk():  # a hard link becomes a copy
            yield _Member(info.name, "file", info.size, executable, info)
        elif info.issym():
            yield _Member(info.name, "symlink", 0, False, info)
        else:
            raise _refused(name, "it has a pipe, socket or device", info.name)


def _write(members: Iterable[_Member], content: Any, target: Path, name: str, limit: int) -> None:
    kinds: dict[str, str] = {}
    links: dict[str, str] = {}
    total = 0
    for member in members:
        path = _checked_path(member, name)
        if path == ".":
            continue
        if len(kinds) >= _MOST_MEMBERS:
            raise _refused(name, "it has too many files")
        _claim(kinds, path, member.kind, name)
        place = target / path
        if member.kind == "dir":
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if member.kind == "symlink":
            links[path] = _checked_link(path, member, content, name)
            continue
        with _opened(content, member, name) as source, place.open("xb") as output:
            while chunk := source.read(_CHUNK):
                total += len(chunk)
                if total > limit:
                    raise _refused(name, "it unpacks to far more than an archive of its size should")
                output.write(chunk)
        place.chmod(0o755 if member.executable else 0o644)
    # Last, so that nothing is ever written through one.
    for path, link in links.items():
        os.symlink(link, target / path)  # noqa: PTH211


@contextlib.contextmanager
def _opened(content: Any, member: _Member, name: str) -> Iterator[IO[bytes]]:
    try:
        source = content(member.handle)
    except KeyError as error:
        raise _refused(name, "it has a hard link to nothing", member.path) from error
    if source is None:
        raise _refused(name, "it has a hard link to nothing", member.path)
    with source:
        yield source


def _checked_path(member: _Member, name: str) -> str:
    path = member.path
    if "\0" in path or path.startswith("/") or ".." in path.split("/"):
        raise _refused(name, "it has a file that would be written outside of its directory", path)
    if any(len(os.fsencode(part)) > 255 for part in path.split("/")):
        raise _refused(name, "it has a name that no file system takes", path)
    return posixpath.normpath(path or ".")


def _claim(kinds: dict[str, str], path: str, kind: str, name: str) -> None:
    """Take ``path``, once, with directories above it."""
    if path in kinds and not kinds[path] == kind == "dir":
        raise _refused(name, "it has a file twice", path)
    kinds[path] = kind
    parent = posixpath.dirname(path)
    while parent:
        if kinds.setdefault(parent, "dir") != "dir":
            raise _refused(name, "it has a file below something that is no directory", path)
        parent = posixpath.dirname(parent)


def _checked_link(path: str, member: _Member, content: Any, name: str) -> str:
    if isinstance(member.handle, tarfile.TarInfo):
        link = member.handle.linkname
    else:
        with content(member.handle) as source:
            link = os.fsdecode(source.read(_LONGEST_LINK + 1))
    where = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    leaves = link.startswith("/") or where == ".." or where.startswith("../")
    if not link or "\0" in link or len(link) > _LONGEST_LINK or leaves:
        raise _refused(name, "it has a symbolic link that points outside of it", path)
    return link


def _damaged(name: str) -> RepoError:
    return _refused(name, "it is damaged, or neither a zip nor a tar file")


def _refused(name: str, why: str, member: str | None = None) -> RepoError:
    return RepoError(
        f"{name} cannot be unpacked: {why}",
        code="bad-archive",
        file=printable(member) if member else None,
        remedy="get the files in another way, and give their directory",
    )
