"""A tar writer whose output depends on nothing but the entries given to it.

POSIX.1-2017 ``ustar``, with a ``pax`` header only where a path, a link target or a size does not fit. The
standard library's writer is not used because its output has changed between Python versions; these bytes
are part of every diff ID (golden tests in ``tests/pack/test_tar.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from envbuild.pack import recipe

__all__ = ["Entry", "Sink", "complete", "directory", "file", "symlink", "write_tar"]

_BLOCK = 512
_MAX_OCTAL_SIZE = 0o77777777777
_TYPEFLAG = {"file": b"0", "symlink": b"2", "dir": b"5"}

Content = bytes | Callable[[], Iterator[bytes]]


class Sink(Protocol):
    """Anything bytes can be written to."""

    def write(self, data: bytes, /) -> object:
        """Take all of ``data``."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of a layer.

    ``path`` is relative, ``/``-separated, without ``.`` or ``..`` parts. File names are bytes on Linux:
    ``path`` and ``target`` are those bytes. ``content`` is the file's bytes, or a function that yields them
    in chunks (``size`` bytes in total).
    """

    path: bytes
    kind: Literal["file", "dir", "symlink"]
    mode: int
    size: int = 0
    content: Content = b""
    target: bytes = b""
    uid: int = 0
    gid: int = 0

    def chunks(self) -> Iterator[bytes]:
        """The file's bytes, in order."""
        if isinstance(self.content, bytes):
            yield self.content
        else:
            yield from self.content()


def _encode(path: str | bytes) -> bytes:
    return path if isinstance(path, bytes) else path.encode("utf-8", "surrogateescape")


def file(
    path: str | bytes,
    content: Content,
    *,
    size: int | None = None,
    executable: bool = False,
    mode: int | None = None,
    uid: int = 0,
    gid: int = 0,
) -> Entry:
    """A regular file; ``size`` is needed when ``content`` is a function.

    >>> file("etc/motd", b"hi").mode == 0o644
    True
    """
    if size is None:
        if not isinstance(content, bytes):
            raise TypeError("size is required for streamed content")
        size = len(content)
    if mode is None:
        mode = recipe.EXEC_MODE if executable else recipe.FILE_MODE
    return Entry(_encode(path), "file", mode, size, content, uid=uid, gid=gid)


def directory(path: str | bytes) -> Entry:
    """A directory with the attributes every layer gives it.

    >>> oct(directory("tmp").mode)
    '0o1777'
    """
    encoded = _encode(path)
    name = encoded.decode("utf-8", "replace")
    usual = (recipe.DIR_MODE, 0, 0)
    if f"{name}/".startswith(f"{recipe.ENV_PREFIX}/"):
        usual = recipe.ENV_DIRECTORY
    mode, uid, gid = recipe.DIRECTORIES.get(name, usual)
    return Entry(encoded, "dir", mode, uid=uid, gid=gid)


def symlink(path: str | bytes, target: str | bytes, *, uid: int = 0, gid: int = 0) -> Entry:
    """A symbolic link."""
    return Entry(_encode(path), "symlink", 0o777, target=_encode(target), uid=uid, gid=gid)


def complete(entries: Iterable[Entry]) -> list[Entry]:
    """``entries`` sorted by the bytes of their paths, every missing parent directory added.

    Raises:
        ValueError: a path is unsafe, occurs twice, or lies below something that is not a directory.
    """
    by_path: dict[bytes, Entry] = {}
    for entry in entries:
        parts = entry.path.split(b"/")
        if not entry.path or b"\0" in entry.path or any(part in (b"", b".", b"..") for part in parts):
            raise ValueError(f"unsafe path in a layer: {entry.path!r}")
        known = by_path.get(entry.path)
        if known is not None and not (known.kind == entry.kind == "dir"):
            raise ValueError(f"path occurs twice in a layer: {entry.path!r}")
        by_path[entry.path] = entry
    for path in list(by_path):
        parent = path
        while (cut := parent.rfind(b"/")) > 0:
            parent = parent[:cut]
            above = by_path.get(parent)
            if above is None:
                by_path[parent] = directory(parent)
            elif above.kind != "dir":
                raise ValueError(f"{path!r} lies below {parent!r}, which is not a directory")
            else:
                break
    # By components, so that a directory always comes right before what it contains.
    return [by_path[path] for path in sorted(by_path, key=lambda path: path.split(b"/"))]


def _octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def _split_name(path: bytes) -> tuple[bytes, bytes] | None:
    """``(prefix, name)`` of ustar's two fields, or None when the path does not fit."""
    if len(path) <= 100:
        return b"", path
    for cut in range(min(len(path) - 1, 155), 0, -1):
        if path[cut : cut + 1] == b"/" and 0 < len(path) - cut - 1 <= 100:
            return path[:cut], path[cut + 1 :]
    return None


def _header(name: bytes, prefix: bytes, entry: Entry, typeflag: bytes, size: int, link: bytes) -> bytes:
    fields = b"".join(
        (
            name.ljust(100, b"\0"),
            _octal(entry.mode, 8),
            _octal(entry.uid, 8),
            _octal(entry.gid, 8),
            _octal(size, 12),
            _octal(recipe.MTIME, 12),
            b" " * 8,  # the checksum counts its own field as spaces
            typeflag,
            link.ljust(100, b"\0"),
            b"ustar\x0000",
            b"\0" * 64,  # user and group name: empty, numbers only
            _octal(0, 8),
            _octal(0, 8),
            prefix.ljust(155, b"\0"),
            b"\0" * 12,
        )
    )
    return fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]


def _pax_record(key: bytes, value: bytes) -> bytes:
    """``"<length> key=value\\n"``, where the length counts itself."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while len(b"%d" % length) + len(body) != length:
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body


def _headers(entry: Entry) -> bytes:
    """Everything that precedes the entry's content."""
    path = entry.path + b"/" if entry.kind == "dir" else entry.path
    size, link, records = entry.size, entry.target, []
    split = _split_name(path)
    if split is None:
        records.append(_pax_record(b"path", path))
        split = b"", path[:100]
    if len(link) > 100:
        records.append(_pax_record(b"linkpath", link))
        link = link[:100]
    if size > _MAX_OCTAL_SIZE:
        records.append(_pax_record(b"size", b"%d" % size))
        size = 0
    prefix, name = split
    header = _header(name, prefix, entry, _TYPEFLAG[entry.kind], size, link)
    if not records:
        return header
    pax = b"".join(records)
    neutral = Entry(b"pax", "file", recipe.FILE_MODE)
    return _header(b"pax_header", b"", neutral, b"x", len(pax), b"") + _padded(pax) + header


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _BLOCK)


def write_tar(entries: Iterable[Entry], sink: Sink) -> None:
    """Write ``entries`` (from :func:`complete`) as a tar stream.

    Raises:
        ValueError: an entry's content is not as long as it said.
    """
    for entry in entries:
        sink.write(_headers(entry))
        if entry.kind != "file":
            continue
        written = 0
        for chunk in entry.chunks():
            sink.write(chunk)
            written += len(chunk)
        if written != entry.size:
            raise ValueError(f"{entry.path!r} has {written} bytes, expected {entry.size}")
        if padding := -written % _BLOCK:
            sink.write(b"\0" * padding)
    sink.write(b"\0" * (2 * _BLOCK))
