"""The relay between two terminals, with a pseudo terminal in the place of the user's."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
from pathlib import Path

PROGRAM = """
import os, sys, termios
from envbuild.engine.terminal import TerminalRelay, gets_terminal
from envbuild.engine.model import Command
assert gets_terminal(Command((), stdin=True))
assert not gets_terminal(Command(()))
here, there = os.openpty()
sizes = []
with TerminalRelay(here, lambda columns, rows: sizes.append((columns, rows))):
    line = os.read(there, 100)
    os.write(there, b"got " + line)
    os.close(there)
os.close(here)
print("end", sizes, bool(termios.tcgetattr(0)[3] & termios.ICANON))
"""


def test_bytes_go_to_and_fro_and_the_users_terminal_is_restored() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (33, 77))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=theirs,
        stdout=theirs,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])},
    )
    os.close(theirs)
    try:
        os.write(ours, b"hello\r")
        said = b""
        while not (b"end" in said and said.endswith(b"\n")):
            assert select.select([ours], [], [], 300)[0], f"nothing more came after {said!r}"
            said += os.read(ours, 1000)
        assert b"got hello" in said
        assert b"[(77, 33)] True" in said
    finally:
        process.kill()
        process.wait()
        os.close(ours)
