"""The program that keeps containers alive: it starts, waits, uses no time, and ends when it is told to."""

from __future__ import annotations

import platform
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

from envbuild.errors import UsageError
from envbuild.warm.hold import ARCHITECTURES, hold_program

_HERE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


def test_it_waits_without_any_file_and_ends_when_told(tmp_path: Path) -> None:
    """In an empty root directory, so it needs neither a library nor a shell."""
    program = tmp_path / "hold"
    program.write_bytes(hold_program(_HERE))
    program.chmod(0o555)
    with subprocess.Popen([program], env={}) as process:
        try:
            stat = Path(f"/proc/{process.pid}/stat")
            while _state(stat) != "S":
                assert process.poll() is None
                time.sleep(0.001)
            used = _used(stat)
            time.sleep(0.1)
            assert ("S", used) == (_state(stat), _used(stat))
        finally:
            process.terminate()
        assert -signal.SIGTERM == process.wait()


def _state(stat: Path) -> str:
    return stat.read_text().rpartition(")")[2].split()[0]


def _used(stat: Path) -> list[str]:
    """The time it has used since it was forked, for itself and in the kernel."""
    return stat.read_text().rpartition(")")[2].split()[11:13]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_segment_covers_the_file_and_is_not_writable(architecture: str) -> None:
    program = hold_program(architecture)
    kind, flags, offset, address, _, size, memory, _ = struct.unpack_from("<IIQQQQQQ", program, 64)
    entry = struct.unpack_from("<Q", program, 24)[0]

    assert (1, 5, 0, len(program), len(program)) == (kind, flags, offset, size, memory)
    assert address < entry < address + size


def test_the_arm64_program_is_the_one_that_was_disassembled() -> None:
    """``movz x0..x3, #0; movz x8, #73; svc #0; b .-24``: decoded field by field."""
    *moves, call, jump = struct.unpack("<7I", hold_program("arm64")[-28:])

    assert [(0, 0), (1, 0), (2, 0), (3, 0), (8, 73)] == [
        (word & 0x1F, word >> 5 & 0xFFFF) for word in moves if word >> 21 == 0b11010010100
    ]
    assert 0xD4000001 == call
    offset = jump & 0x3FFFFFF
    assert (0b000101, -6) == (jump >> 26, offset - (1 << 26))


def test_other_architectures_are_refused() -> None:
    with pytest.raises(UsageError, match="riscv64") as caught:
        hold_program("riscv64")
    assert "warm-architecture" == caught.value.code
