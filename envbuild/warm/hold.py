"""The program that keeps a container of any image alive: it waits, and needs nothing of the image.

A DaemonSet makes nodes keep an image by running a container of it. The image may have no shell and no program
that is known, so the container brings its own: a static ELF executable of some 150 bytes, which is small
enough to be written here by hand and to be handed out in a ConfigMap, without an image or a registry of its
own (docs/adr/0044-warm.md).
"""

from __future__ import annotations

import struct
from typing import Final

from envbuild.errors import UsageError

__all__ = ["ARCHITECTURES", "hold_program"]

_ADDRESS: Final = 0x400000
_HEADER, _SEGMENT = 64, 56
_PAGE: Final = 0x10000  # the largest page that either architecture has

# Both wait for a signal, for ever: pause(2) where there is one, ppoll(2) on nothing where there is not.
_CODE: Final = {
    "amd64": (
        62,  # EM_X86_64
        bytes.fromhex(
            "b822000000"  # mov eax, 34 (pause)
            "0f05"  # syscall
            "ebf7"
        ),  # jmp to the start
    ),
    "arm64": (
        183,  # EM_AARCH64
        struct.pack(
            "<7I",
            0xD2800000,  # mov x0, 0
            0xD2800001,  # mov x1, 0
            0xD2800002,  # mov x2, 0
            0xD2800003,  # mov x3, 0
            0xD2800928,  # mov x8, 73 (ppoll)
            0xD4000001,  # svc 0
            0x17FFFFFA,  # b to the start
        ),
    ),
}
ARCHITECTURES: Final = tuple(sorted(_CODE))


def hold_program(architecture: str) -> bytes:
    """The program for ``amd64`` or ``arm64``: an ELF file (System V gABI) with one executable segment.

    Raises:
        UsageError: there is none for this architecture.
    """
    if architecture not in _CODE:
        raise UsageError(
            f"nodes of the architecture {architecture!r} cannot be kept warm",
            code="warm-architecture",
            remedy=f"use one of {', '.join(ARCHITECTURES)} in the pool's platform",
        )
    machine, code = _CODE[architecture]
    start = _HEADER + 2 * _SEGMENT
    size = start + len(code)
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)  # 64 bits, little-endian, version 1
    header = identity + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, _ADDRESS + start, _HEADER, 0, 0, _HEADER, _SEGMENT, 2, 0, 0, 0
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, _ADDRESS, _ADDRESS, size, size, _PAGE)  # PT_LOAD, r-x
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)  # PT_GNU_STACK, rw-
    return header + load + stack + code
