"""Looking after a kernel's process: signals are passed on, its end is told with a reason, it ends with us.

Applications know one process, which is ours: they interrupt and end it, and when it ends they take the kernel
to be dead. The kernel's own process is in a container.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envbuild.engine.model import Running

__all__ = ["Attendant", "Ended"]

# Applications wait some seconds between asking a process to end and killing it.
_GRACE_SECONDS = 1.0
_ENDING = frozenset({signal.SIGTERM, signal.SIGHUP})


@dataclass(frozen=True, slots=True)
class Ended:
    """The exit code, and why the kernel died, for people; None when it ended as it should."""

    code: int
    reason: str | None


class Attendant:
    """Passes signals to a process from the moment it is made; the main thread's.

    Signals that come before there is a process are kept for it, except interrupts: there is nothing yet to be
    interrupted.
    """

    def __init__(self) -> None:
        self._signals: list[int] = []
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        self._parent = _open_parent()
        for number in (signal.SIGINT, *_ENDING):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def attend(self, start: Callable[[], Running], started: Callable[[], None]) -> Ended:
        """Start the process and stay with it to its end.

        Parameters:
            started: called when it runs.
        """
        with start() as running:
            self._signals = [number for number in self._signals if number != signal.SIGINT]
            started()
            ended: list[int | BaseException] = []
            waiting = threading.Thread(target=self._wait, args=(running, ended), daemon=True)
            waiting.start()
            asked = False
            while not ended:
                while self._signals and not asked:
                    number = self._signals.pop(0)
                    if number in _ENDING:
                        asked = True
                    else:
                        running.send_signal(number)
                if asked or self._is_orphan():
                    asked = True
                    running.terminate(_GRACE_SECONDS)
                    break
                select.select([self._wake_reader, *self._parent], [], [])
                _drain(self._wake_reader)
            waiting.join()
            code = ended[0]
            if isinstance(code, BaseException):
                raise code
            return Ended(code, None if asked else _reason(code, running))

    def _wait(self, running: Running, ended: list[int | BaseException]) -> None:
        try:
            ended.append(running.wait())
        except BaseException as error:
            ended.append(error)
        os.write(self._wake_writer, b"\0")

    def _is_orphan(self) -> bool:
        return bool(self._parent) and bool(select.select(self._parent, [], [], 0)[0])


def _open_parent() -> list[int]:
    """A descriptor that can be read when the process that started us is gone; none where there is no such."""
    try:
        return [os.pidfd_open(os.getppid())]
    except (OSError, AttributeError):
        return []


def _drain(handle: int) -> None:
    while select.select([handle], [], [], 0)[0]:
        os.read(handle, 1024)


def _reason(code: int, running: Running) -> str | None:
    """Why a process ended that nobody had asked to, as far as its exit code tells."""
    if code == 0:
        return None
    if running.ran_out_of_memory():
        return "the machine ran out of memory, and it was killed"
    if code > 128:
        try:
            name = signal.Signals(code - 128).name
        except ValueError:
            return f"exit code {code}"
        return f"it was killed ({name})" if name in ("SIGKILL", "SIGTERM") else f"it crashed ({name})"
    return f"exit code {code}"
