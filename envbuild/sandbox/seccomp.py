"""Root without the power to give files away: a filter that lets some system calls succeed without effect.

In the sandbox exactly one user exists. ``chown`` to another fails there, and so do ``setgroups``, ``setuid``
and the making of device nodes; dpkg and maintainer scripts take that for a broken system. Owners are
normalised in what is captured anyway, and nothing needs the devices. So for steps of root the kernel answers
"done" and does nothing, which Charliecloud found to be enough for package managers.

A filter is a program for the kernel's classic BPF machine (``bpf(4)``, ``seccomp(2)``): instructions of eight
bytes (code, jump if true, jump if false, operand) over a ``struct seccomp_data`` of the call's number (at 0),
the architecture (at 4) and six arguments of eight bytes (from 16, little-endian here).
"""

from __future__ import annotations

import platform
import stat
import struct

__all__ = ["fake_root_filter"]

# include/uapi/linux/bpf_common.h, filter.h and seccomp.h
_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_JUMP_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_ALLOW = 0x7FFF0000  # SECCOMP_RET_ALLOW
_PRETEND = 0x00050000  # SECCOMP_RET_ERRNO with errno 0: the call returns 0 and is not made
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_FORMAT = 0o170000  # S_IFMT of inode(7)

# Machine -> (AUDIT_ARCH_*, the calls that do nothing, number and place of the mode of those that make nodes).
_CALLS = {
    "x86_64": (
        0xC000003E,
        {
            "chown": 92,
            "fchown": 93,
            "lchown": 94,
            "setuid": 105,
            "setgid": 106,
            "setreuid": 113,
            "setregid": 114,
            "setgroups": 116,
            "setresuid": 117,
            "setresgid": 119,
            "setfsuid": 122,
            "setfsgid": 123,
            "capset": 126,
            "fchownat": 260,
        },
        {"mknod": (133, 1), "mknodat": (259, 2)},
    ),
    "aarch64": (
        0xC00000B7,
        {
            "fchownat": 54,
            "fchown": 55,
            "capset": 91,
            "setregid": 143,
            "setgid": 144,
            "setreuid": 145,
            "setuid": 146,
            "setresuid": 147,
            "setresgid": 149,
            "setfsuid": 151,
            "setfsgid": 152,
            "setgroups": 159,
        },
        {"mknodat": (33, 2)},
    ),
}


def fake_root_filter(machine: str | None = None) -> bytes:
    """The program for bubblewrap's ``--seccomp``.

    Parameters:
        machine: as ``uname -m`` says; this machine's by default.

    Raises:
        KeyError: the machine's system calls are not known here.
    """
    architecture, nothing, nodes = _CALLS[machine or platform.machine()]
    program = [
        (_LOAD_WORD, 0, 0, _ARCHITECTURE),
        (_JUMP_IF_EQUAL, 1, 0, architecture),
        # Programs of another architecture number their calls otherwise; theirs are made as they are.
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD_WORD, 0, 0, _NUMBER),
    ]
    for number, mode in sorted(nodes.values()):
        program += [
            # For another call go on behind these, with the number still loaded.
            (_JUMP_IF_EQUAL, 0, 6, number),
            (_LOAD_WORD, 0, 0, _ARGUMENTS + 8 * mode),
            (_AND, 0, 0, _FORMAT),
            (_JUMP_IF_EQUAL, 2, 0, stat.S_IFCHR),
            (_JUMP_IF_EQUAL, 1, 0, stat.S_IFBLK),
            (_RETURN, 0, 0, _ALLOW),  # pipes and sockets are made
            (_RETURN, 0, 0, _PRETEND),
        ]
    numbers = sorted(nothing.values())
    for index, number in enumerate(numbers):
        program.append((_JUMP_IF_EQUAL, len(numbers) - index, 0, number))
    program += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _PRETEND)]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)
