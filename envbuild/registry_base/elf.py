"""What the header of a program says (elf(5)), read without running it. Only 64-bit little-endian files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["MACHINES", "Elf", "parse_elf"]

MACHINES: Final = {"linux/amd64": 62, "linux/arm64": 183}
"""``e_machine`` of programs for a platform."""

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
_DYNAMIC: Final = struct.Struct("<qQ")
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_IDENTITY: Final = b"\x7fELF\x02\x01"
_LOAD, _DYNAMIC_SEGMENT, _INTERPRETER = 1, 2, 3
_NEEDED, _HASH, _STRINGS, _SYMBOLS, _RPATH, _RUNPATH, _GNU_HASH = 1, 4, 5, 6, 15, 29, 0x6FFFFEF5
_MOST_ENTRIES: Final = 10_000
_LONGEST_TEXT: Final = 4096


@dataclass(frozen=True, slots=True)
class Elf:
    """A program or library.

    ``machine`` is ``e_machine``; ``interpreter`` the path of the loader it asks for, None when it asks for
    none; ``needed`` the libraries it links to and ``search`` where else they are looked for.
    """

    machine: int
    interpreter: str | None
    needed: tuple[str, ...]
    search: tuple[str, ...]
    _data: bytes
    _segments: tuple[tuple[int, ...], ...]
    _tables: dict[int, int]

    def number(self, symbol: str) -> int | None:
        """The ``unsigned long`` that the dynamic ``symbol`` names; None when there is none."""
        try:
            for index in self._candidates(symbol):
                place = self._offset(self._tables[_SYMBOLS] + index * _SYMBOL.size)
                name, _, _, section, value, _ = _SYMBOL.unpack_from(self._data, place)
                if section and self._text(name) == symbol:
                    found: int = struct.unpack_from("<Q", self._data, self._offset(value))[0]
                    return found
        except (struct.error, KeyError, ValueError, OverflowError, ZeroDivisionError):
            pass
        return None

    def _candidates(self, symbol: str) -> Iterator[int]:
        """The indexes in the table of symbols at which ``symbol`` may be."""
        name = symbol.encode()
        if _GNU_HASH in self._tables:
            yield from self._gnu_candidates(name)
        elif _HASH in self._tables:
            place = self._offset(self._tables[_HASH])
            buckets, chains = struct.unpack_from("<II", self._data, place)
            index = self._word(place + 8 + 4 * (_system_v_hash(name) % buckets))
            for _ in range(_MOST_ENTRIES):
                if not index or index >= chains:
                    return
                yield index
                index = self._word(place + 8 + 4 * (buckets + index))

    def _gnu_candidates(self, name: bytes) -> Iterator[int]:
        place = self._offset(self._tables[_GNU_HASH])
        buckets, first, words, _ = struct.unpack_from("<IIII", self._data, place)
        table = place + 16 + 8 * words
        wanted = _gnu_hash(name)
        index = self._word(table + 4 * (wanted % buckets))
        for number in range(index, index + _MOST_ENTRIES):
            if number < first:
                return
            found = self._word(table + 4 * (buckets + number - first))
            if found | 1 == wanted | 1:
                yield number
            if found & 1:
                return

    def _word(self, place: int) -> int:
        value: int = struct.unpack_from("<I", self._data, place)[0]
        return value

    def _offset(self, address: int) -> int:
        return _offset(self._segments, address)

    def _text(self, start: int) -> str:
        return _text(self._data, self._offset(self._tables[_STRINGS]) + start)


def parse_elf(data: bytes) -> Elf | None:
    """The program or library that ``data`` is; None when it is none, or one that is damaged."""
    if not data.startswith(_IDENTITY):
        return None
    try:
        header = _HEADER.unpack_from(data)
        start, size, count = header[5], header[9], header[10]
        segments = tuple(_SEGMENT.unpack_from(data, start + size * number) for number in range(count))
        interpreter, entries = None, []
        for kind, _, offset, _, _, length, _, _ in segments:
            if kind == _INTERPRETER:
                interpreter = _text(data, offset)
            elif kind == _DYNAMIC_SEGMENT:
                entries = list(_entries(data, offset, length))
        tables = dict(entries)
        strings = _offset(segments, tables[_STRINGS]) if entries else 0
        needed = [_text(data, strings + value) for tag, value in entries if tag == _NEEDED]
        paths = [_text(data, strings + value) for tag, value in entries if tag in (_RPATH, _RUNPATH)]
    except (struct.error, KeyError, ValueError, OverflowError):
        return None
    search = [path for text in paths for path in text.split(":") if path]
    return Elf(header[2], interpreter, tuple(needed), tuple(search), data, segments, tables)


def _entries(data: bytes, offset: int, length: int) -> Iterator[tuple[int, int]]:
    for number in range(min(length // _DYNAMIC.size, _MOST_ENTRIES)):
        tag, value = _DYNAMIC.unpack_from(data, offset + number * _DYNAMIC.size)
        if tag == 0:
            return
        yield tag, value


def _offset(segments: tuple[tuple[int, ...], ...], address: int) -> int:
    """Where in the file the byte is that will be at ``address``."""
    for kind, _, offset, start, _, length, _, _ in segments:
        if kind == _LOAD and start <= address < start + length:
            return offset + address - start
    raise ValueError(f"nothing is loaded at {address}")


def _text(data: bytes, start: int) -> str:
    end = data.index(b"\0", start, start + _LONGEST_TEXT)
    return data[start:end].decode("ascii")


def _gnu_hash(name: bytes) -> int:
    value = 5381
    for byte in name:
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value


def _system_v_hash(name: bytes) -> int:
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return value
