"""A terminal of its own for a process in a container, connected to the user's.

Handing the user's own terminal in would let the process type on it (the TIOCSTI ioctl) and leave it in
whatever mode it likes. So the process gets another one, and bytes are carried to and fro.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from envbuild.engine.model import Command

__all__ = ["TERM", "TerminalRelay", "gets_terminal"]

TERM = "xterm"  # what every terminal can do and every terminfo database knows

_STDIN, _STDOUT = 0, 1
_CHUNK = 1 << 16
_SIZE_CHECK_SECONDS = 0.5


def gets_terminal(command: Command) -> bool:
    """Whether ``command`` gets a terminal: when it has our streams and they are one."""
    return command.stdin and command.output is None and os.isatty(_STDIN) and os.isatty(_STDOUT)


class TerminalRelay:
    """Carries bytes between our terminal and ``remote`` while the block runs; ours is raw meanwhile.

    Parameters:
        remote: file descriptor of the other side: a pseudo terminal's master, or a socket. Not closed.
        resize: called with (columns, rows) at the start and whenever our terminal has changed.
    """

    def __init__(self, remote: int, resize: Callable[[int, int], None]) -> None:
        self._remote = remote
        self._resize = resize
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._carry, name="terminal", daemon=True)

    def __enter__(self) -> Self:
        self._mode = termios.tcgetattr(_STDIN)
        sys.stdout.flush()
        tty.setraw(_STDIN, termios.TCSADRAIN)  # what was typed already is not thrown away
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            os.close(self._waker)  # from now on only what the other side has already written is carried
            self._thread.join(timeout=2)
        finally:
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, self._mode)
            os.close(self._wake)

    def _carry(self) -> None:
        size = None
        sources = [_STDIN, self._remote, self._wake]
        while True:
            if size != (current := os.get_terminal_size(_STDOUT)):
                size = current
                with suppress(Exception):  # a wrong size is better than no session
                    self._resize(*size)
            ending = self._wake not in sources
            ready, _, _ = select.select(sources, [], [], 0.1 if ending else _SIZE_CHECK_SECONDS)
            if ending and not ready:
                return
            if self._wake in ready:
                sources = [self._remote]
            if _STDIN in ready:
                data = os.read(_STDIN, _CHUNK)
                if not data:
                    sources.remove(_STDIN)
                _write(self._remote, data)
            if self._remote in ready:
                try:
                    data = os.read(self._remote, _CHUNK)
                except OSError:  # EIO: no process has the pseudo terminal open any more
                    data = b""
                if not data:
                    return
                _write(_STDOUT, data)


def _write(handle: int, data: bytes) -> None:
    with suppress(OSError):
        while data:
            data = data[os.write(handle, data) :]
