"""The filter, run on a little machine of our own: which calls it lets pass and which it fakes."""

from __future__ import annotations

import struct

import pytest

from envbuild.sandbox.seccomp import fake_root_filter

ALLOW, PRETEND = 0x7FFF0000, 0x00050000
X86_64, AARCH64, I386 = 0xC000003E, 0xC00000B7, 0x40000003
CHARACTER, BLOCK, FIFO, REGULAR = 0o20644, 0o60644, 0o10644, 0o100644


def _verdict(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """What the kernel's machine would return (bpf(4)); its data is a ``struct seccomp_data``."""
    data = struct.pack("<IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    instructions = list(struct.iter_unpack("<HBBI", program))
    position = accumulator = 0
    while True:
        code, if_true, if_false, operand = instructions[position]
        position += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, operand)
        elif code == 0x54:
            accumulator &= operand
        elif code == 0x15:
            position += if_true if accumulator == operand else if_false
        elif code == 0x06:
            return operand
        else:
            pytest.fail(f"no instruction of ours: {code:#x}")


@pytest.mark.parametrize(
    ("machine", "architecture", "faked"),
    [
        ("x86_64", X86_64, {92, 93, 94, 105, 106, 113, 114, 116, 117, 119, 122, 123, 126, 260}),
        ("aarch64", AARCH64, {54, 55, 91, 143, 144, 145, 146, 147, 149, 151, 152, 159}),
    ],
)
def test_exactly_the_calls_about_owners_do_nothing(machine: str, architecture: int, faked: set[int]) -> None:
    program = fake_root_filter(machine)
    verdicts = {number: _verdict(program, architecture, number) for number in range(500)}
    assert {number for number, verdict in verdicts.items() if verdict == PRETEND} == faked
    assert {verdict for number, verdict in verdicts.items() if number not in faked} == {ALLOW}


@pytest.mark.parametrize(
    ("machine", "architecture", "number", "arguments"),
    [
        ("x86_64", X86_64, 133, (0,)),  # mknod(path, mode, device)
        ("x86_64", X86_64, 259, (0, 0)),  # mknodat(directory, path, mode, device)
        ("aarch64", AARCH64, 33, (0, 0)),
    ],
)
def test_devices_are_not_made_and_everything_else_is(
    machine: str, architecture: int, number: int, arguments: tuple[int, ...]
) -> None:
    program = fake_root_filter(machine)
    verdicts = [
        _verdict(program, architecture, number, *arguments, mode)
        for mode in (CHARACTER, BLOCK, FIFO, REGULAR)
    ]
    assert verdicts == [PRETEND, PRETEND, ALLOW, ALLOW]


def test_programs_of_another_architecture_are_left_alone() -> None:
    assert _verdict(fake_root_filter("x86_64"), I386, 92) == ALLOW


def test_it_is_as_short_as_the_kernel_wants() -> None:
    assert len(fake_root_filter("x86_64")) % 8 == 0
    assert len(fake_root_filter("x86_64")) // 8 <= 255  # jumps are bytes
