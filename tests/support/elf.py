"""Programs and libraries that consist of their headers: enough to be recognized, not to run."""

from __future__ import annotations

import struct

__all__ = ["make_elf", "python_number"]

_BASE = 0x1000  # where the file is loaded
_MACHINES = {"linux/amd64": 62, "linux/arm64": 183}


def python_number(version: str, *, level: int = 0xF) -> int:
    """``PY_VERSION_HEX`` of a version; ``level`` 0xF is a release, 0xC a candidate."""
    major, minor, micro = (int(part) for part in version.split("."))
    return major << 24 | minor << 16 | micro << 8 | level << 4


def make_elf(
    platform: str = "linux/amd64",
    *,
    interpreter: str | None = None,
    needed: tuple[str, ...] = (),
    search: str = "",
    numbers: dict[str, int] | None = None,
    text: bytes = b"",
) -> bytes:
    """A 64-bit little-endian ELF file.

    Parameters:
        interpreter: the loader it asks for.
        needed: libraries it links to; ``search`` is its RUNPATH.
        numbers: dynamic symbols, and the eight-byte numbers they name.
        text: further content.
    """
    numbers = numbers or {}
    strings = b"\0"
    offsets = {}
    for name in (*needed, *numbers, search):
        offsets[name] = len(strings)
        strings += name.encode() + b"\0"
    segments = 3 if interpreter else 2
    position = 64 + 56 * segments
    parts = b""

    def place(data: bytes) -> int:
        nonlocal parts
        start = position + len(parts)
        parts += data + bytes(-len(data) % 8)
        return start

    loader = place(interpreter.encode() + b"\0") if interpreter else 0
    string_place = place(strings)
    values = [place(struct.pack("<Q", number)) for number in numbers.values()]
    symbols = struct.pack("<IBBHQQ", 0, 0, 0, 0, 0, 0)
    for name, value in zip(numbers, values, strict=True):
        symbols += struct.pack("<IBBHQQ", offsets[name], 0x11, 0, 1, _BASE + value, 8)
    symbol_place = place(symbols)
    count = len(numbers) + 1
    chain = [*range(2, count), 0] if count > 1 else []
    table = struct.pack(f"<III{count}I", 1, count, 1 if count > 1 else 0, 0, *chain)
    hash_place = place(table)
    entries = [(1, offsets[name]) for name in needed]
    entries += [(29, offsets[search])] if search else []
    entries += [(4, _BASE + hash_place), (5, _BASE + string_place), (6, _BASE + symbol_place), (0, 0)]
    dynamic = b"".join(struct.pack("<qQ", *entry) for entry in entries)
    dynamic_place = place(dynamic)
    place(text)
    end = position + len(parts)
    headers = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, end, end, 8)
    headers += struct.pack(
        "<IIQQQQQQ", 2, 4, dynamic_place, _BASE + dynamic_place, 0, len(dynamic), len(dynamic), 8
    )
    if interpreter:
        size = len(interpreter) + 1
        headers += struct.pack("<IIQQQQQQ", 3, 4, loader, _BASE + loader, 0, size, size, 1)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    fields = (identity, 3, _MACHINES[platform], 1, 0, 64, 0, 0, 64, 56, segments, 64, 0, 0)
    return struct.pack("<16sHHIQQQIHHHHHH", *fields) + headers + parts
