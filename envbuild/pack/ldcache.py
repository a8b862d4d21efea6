"""Writing ``/etc/ld.so.cache`` without ldconfig: where the loader finds each library.

The format is glibc's ``glibc-ld.so.cache1.1`` (``elf/cache.c``, ``dl-cache.h``), little-endian, without the
optional extensions. ldconfig itself cannot be used: it is a program of the image, maybe for another
architecture.
"""

from __future__ import annotations

import posixpath
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from envbuild.pack.tar import Entry

__all__ = ["ld_so_cache"]

_HEADER = struct.Struct("<17s3sIIB3xI12x")
_ENTRY = struct.Struct("<iIIIQ")
_LITTLE_ENDIAN = 2

# e_machine of ELF, and the flags of cache entries: libc6 (3) and the architecture's ABI.
_ARCHITECTURES = {"amd64": (62, 0x0303), "arm64": (183, 0x0A03)}
_TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}

_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_DYNAMIC_ENTRY = struct.Struct("<qQ")
_ELF64_LITTLE_ENDIAN = b"\x7fELF\x02\x01"
_SHARED_OBJECT = 3
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_STRTAB, _DT_SONAME = 0, 5, 14

_MAX_LINKS = 40


@dataclass(frozen=True, slots=True)
class _Library:
    """One line of the cache: what is asked for, and where it is."""

    soname: str
    path: str


def ld_so_cache(entries: Iterable[Entry], *, arch: str) -> bytes:
    """The cache for the libraries among ``entries``, as ``ldconfig`` would write it.

    Parameters:
        entries: everything in the root file system.
        arch: Debian's name of the architecture (``amd64``, ``arm64``).
    """
    machine, flags = _ARCHITECTURES[arch]
    root = _Root(entries)
    libraries = [
        library
        for directory in _directories(root, _TRIPLETS[arch])
        for library in _libraries(root, directory, machine)
    ]
    # Backwards, because that is how the loader searches; of equal names the first directory's comes first.
    libraries.sort(key=lambda library: _order(library.soname), reverse=True)
    return _encode(libraries, flags)


def _encode(libraries: list[_Library], flags: int) -> bytes:
    strings = bytearray()
    offset = _HEADER.size + _ENTRY.size * len(libraries)
    table = bytearray()
    for library in libraries:
        places = []
        for text in (library.soname, library.path):
            places.append(offset + len(strings))
            strings += text.encode() + b"\0"
        table += _ENTRY.pack(flags, *places, 0, 0)
    header = _HEADER.pack(b"glibc-ld.so.cache", b"1.1", len(libraries), len(strings), _LITTLE_ENDIAN, 0)
    return header + bytes(table) + bytes(strings)


def _order(soname: str) -> list[tuple[int, int]]:
    """How glibc orders names (``_dl_cache_libcmp``): runs of digits as numbers, after anything else.

    >>> sorted(["libb.so.10", "libb.so.9", "liba.so", "lib1.so"], key=_order)
    ['liba.so', 'libb.so.9', 'libb.so.10', 'lib1.so']
    """
    order: list[tuple[int, int]] = []
    number: str = ""
    for character in soname:
        if character in "0123456789":
            number += character
            continue
        if number:
            order.append((1, int(number)))
            number = ""
        order.append((0, ord(character)))
    if number:
        order.append((1, int(number)))
    return order


class _Root:
    """The entries as a file system: absolute paths, links followed."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = {"/" + entry.path.decode("utf-8", "replace"): entry for entry in entries}
        self._names: dict[str, list[str]] = {}
        for path in self._entries:
            directory, name = posixpath.split(path)
            self._names.setdefault(directory, []).append(name)

    def resolve(self, path: str) -> str | None:
        """``path`` with every link followed; None when it leads nowhere."""
        for _ in range(_MAX_LINKS):
            done = ""
            parts = path.strip("/").split("/")
            for number, part in enumerate(parts, 1):
                step = f"{done}/{part}"
                entry = self._entries.get(step)
                if entry is None:
                    return None
                if entry.kind == "symlink":
                    rest = parts[number:]
                    path = posixpath.normpath(posixpath.join(done or "/", entry.target.decode(), *rest))
                    break
                done = step
            else:
                return done
        return None

    def names(self, directory: str) -> list[str]:
        """The names in ``directory`` (which must be real), sorted."""
        return sorted(self._names.get(directory, ()))

    def is_link(self, path: str) -> bool:
        """Whether the real directory's member ``path`` is a symbolic link."""
        return self._entries[path].kind == "symlink"

    def read(self, path: str) -> bytes | None:
        """The content of the file that ``path`` leads to; None when it is not a file."""
        real = self.resolve(path)
        entry = self._entries[real] if real is not None else None
        return b"".join(entry.chunks()) if entry is not None and entry.kind == "file" else None


def _directories(root: _Root, triplet: str) -> Iterator[str]:
    """Where ldconfig looks, in order, each real directory once, by the first name it is given."""
    seen = set()
    for directory in [
        *_configured(root, "/etc/ld.so.conf"),
        f"/lib/{triplet}",
        f"/usr/lib/{triplet}",
        "/lib",
        "/usr/lib",
    ]:
        real = root.resolve(directory)
        if real is not None and real not in seen:
            seen.add(real)
            yield directory


def _configured(root: _Root, path: str) -> Iterator[str]:
    for line in (root.read(path) or b"").decode().splitlines():
        words = line.partition("#")[0].split()
        if len(words) == 2 and words[0] == "include":
            directory, pattern = posixpath.split(words[1])
            for name in root.names(root.resolve(directory) or ""):
                if fnmatchcase(name, pattern):
                    yield from _configured(root, f"{directory}/{name}")
        elif words:
            yield words[0].rstrip("/")


def _libraries(root: _Root, directory: str, machine: int) -> Iterator[_Library]:
    """The libraries of one directory by their sonames, for which there must be a file or link.

    A development link (``libz.so``) counts as well, by its own name.
    """
    real = root.resolve(directory) or ""
    names = root.names(real)
    sonames = set()
    for name in names:
        if not name.startswith(("lib", "ld-")) or ".so" not in name:
            continue
        content = root.read(f"{directory}/{name}")
        if content is None or not _is_library(content, machine):
            continue
        soname = _soname(content) or name
        if name.endswith(".so") and soname.startswith(name) and root.is_link(f"{real}/{name}"):
            soname = name
        sonames.add(soname)
    for soname in sorted(sonames.intersection(names)):
        yield _Library(soname, f"{directory}/{soname}")


def _is_library(content: bytes, machine: int) -> bool:
    if not content.startswith(_ELF64_LITTLE_ENDIAN) or len(content) < _ELF_HEADER.size:
        return False
    header = _ELF_HEADER.unpack_from(content)
    return bool(header[1] == _SHARED_OBJECT and header[2] == machine)


def _soname(content: bytes) -> str | None:
    """``DT_SONAME`` of a 64-bit little-endian ELF file; None when it has none or is damaged."""
    header = _ELF_HEADER.unpack_from(content)
    start, size, count = header[5], header[9], header[10]
    try:
        segments = [_PROGRAM_HEADER.unpack_from(content, start + size * number) for number in range(count)]
        dynamic = _dynamic(content, segments)
        strings, name = dynamic[_DT_STRTAB], dynamic[_DT_SONAME]
        for kind, _, offset, address, _, length, _, _ in segments:
            if kind == _PT_LOAD and address <= strings < address + length:
                begin = offset + strings - address + name
                return content[begin : content.index(b"\0", begin)].decode("ascii")
    except (struct.error, KeyError, ValueError, OverflowError):
        pass
    return None


def _dynamic(content: bytes, segments: list[tuple[int, ...]]) -> Mapping[int, int]:
    table: dict[int, int] = {}
    for kind, _, offset, _, _, length, _, _ in segments:
        if kind == _PT_DYNAMIC:
            for tag, value in _DYNAMIC_ENTRY.iter_unpack(content[offset : offset + length // 16 * 16]):
                if tag == _DT_NULL:
                    break
                table[tag] = value
    return table
