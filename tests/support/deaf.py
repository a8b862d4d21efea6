"""Starts a program that hears nothing of this machine's network interfaces: ``deaf.py PROGRAM ARGUMENT...``.

Chromium gives up what it loads, even from loopback, whenever an interface gets an address or loses one
(ERR_NETWORK_CHANGED). Containers of other tests, which run at the same time, have that happen all the time.
Without the kernel's socket for such news (netlink(7)) it takes the network as it is.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

__all__ = ["start"]

# include/uapi/linux/prctl.h, seccomp.h, filter.h: see envbuild/sandbox/seccomp.py.
_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_NO_SUCH_FAMILY = 97  # EAFNOSUPPORT
_NETLINK = 16  # AF_NETLINK
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}  # AUDIT_ARCH_*, number of socket(2)


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def start(command: list[str]) -> None:
    """Become ``command``, without netlink."""
    architecture, socket = _MACHINES[platform.machine()]
    instructions = [
        (_LOAD_WORD, 0, 0, _ARCHITECTURE),
        (_JUMP_IF_EQUAL, 0, 5, architecture),
        (_LOAD_WORD, 0, 0, _NUMBER),
        (_JUMP_IF_EQUAL, 0, 3, socket),
        (_LOAD_WORD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_IF_EQUAL, 0, 1, _NETLINK),
        (_RETURN, 0, 0, _FAIL | _NO_SUCH_FAMILY),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions)
    program = _Program(len(instructions), code)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    os.execvp(command[0], command)


if __name__ == "__main__":
    start(sys.argv[1:])
