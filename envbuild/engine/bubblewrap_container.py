"""A process in bubblewrap, and the options that say what it sees."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Self

from envbuild.engine.memory import killed_for_memory
from envbuild.engine.model import GRACE_SECONDS, Command, Mount
from envbuild.engine.terminal import TerminalRelay, gets_terminal
from envbuild.errors import MachineError, RepoError

__all__ = ["KERNEL_FILES", "Contained", "environment_options", "mount_options"]

_KILLED = 128 + signal.SIGKILL
# When root starts bwrap, processes inside are still root for the files of /proc, whatever their number in
# the namespace: there they could set the host's kernel parameters. bwrap itself covers only some of them.
_KERNEL_SETTINGS = ("/proc/sys", "/proc/fs", "/proc/mtrr", "/proc/scsi", "/proc/acpi", "/proc/sysrq-trigger")
KERNEL_FILES = (
    "--proc",
    "/proc",
    *(word for path in _KERNEL_SETTINGS for word in ("--ro-bind-try", path, path)),
)


def mount_options(mounts: Iterable[Mount]) -> list[str]:
    """Options that show ``mounts`` to the process."""
    options = []
    for mount in mounts:
        options += ["--bind" if mount.writable else "--ro-bind", str(mount.source), mount.target]
    return options


def environment_options(image: Iterable[str], *added: Mapping[str, str]) -> list[str]:
    """Options for the variables of an image's config (``NAME=value``) and ``added``, the last strongest."""
    values = dict(variable.partition("=")[::2] for variable in image)
    for more in added:
        values |= more
    options = ["--clearenv"]
    for name, value in sorted(values.items()):
        options += ["--setenv", name, value]
    return options


class Contained:
    """A process in bubblewrap; see :class:`envbuild.engine.model.Running`.

    Parameters:
        bwrap: how bubblewrap is started.
        options: of bubblewrap's.
        argv: what runs, the image's entry point included.
        command: where its input and output go.
        descriptors: open files that ``options`` mention by number.

    Attributes:
        first_process: this machine's number of the container's process 1; None when there never was one.
    """

    def __init__(
        self,
        bwrap: Sequence[str],
        options: Sequence[str],
        argv: Sequence[str],
        command: Command,
        descriptors: Sequence[int] = (),
    ) -> None:
        self._resources = ExitStack()
        self._killed_before = killed_for_memory()
        with ExitStack() as opened:
            arguments = opened.enter_context(_anonymous_file(options))
            report_reader, report_writer = os.pipe()
            report = opened.enter_context(os.fdopen(report_reader, "rb"))
            own = [*bwrap, "--args", str(arguments), "--info-fd", str(report_writer), "--", *argv]
            stdin: int | None = None if command.stdin else subprocess.DEVNULL
            output: int | None = None
            terminal: int | None = None
            if command.output is not None:
                output = opened.enter_context(command.output.open("ab")).fileno()
            if gets_terminal(command):
                terminal, inner = os.openpty()
                opened.callback(os.close, inner)
                self._resources.callback(os.close, terminal)
                own = [sys.executable, "-I", "-c", _TAKE_TERMINAL, *own]
                stdin = output = inner
            try:
                self._process = subprocess.Popen(
                    own,
                    stdin=stdin,
                    stdout=output,
                    stderr=output,
                    pass_fds=(arguments, report_writer, *descriptors),
                    # Ctrl-C is ours to handle, and so are the ways to type on our terminal.
                    start_new_session=True,
                )
            except OSError as error:
                raise MachineError(
                    f"bubblewrap cannot be started: {error}", code="engine-unavailable"
                ) from error
            finally:
                os.close(report_writer)
            self.first_process, self._first = _first_process(report.read())
            if self._first is not None:
                self._resources.callback(os.close, self._first)
            if terminal is not None:
                self._resources.enter_context(TerminalRelay(terminal, partial(_resize, terminal)))

    def poll(self) -> int | None:
        """See :meth:`envbuild.engine.model.Running.poll`."""
        code = self._process.poll()
        return None if code is None else _exit_code(code)

    def wait(self) -> int:
        """See :meth:`envbuild.engine.model.Running.wait`."""
        return _exit_code(self._process.wait())

    def send_signal(self, number: int) -> None:
        """See :meth:`envbuild.engine.model.Running.send_signal`; the image's init passes it on."""
        if self._first is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, number)

    def terminate(self, grace: float = GRACE_SECONDS) -> None:
        """See :meth:`envbuild.engine.model.Running.terminate`."""
        try:
            if self._process.poll() is None and self._first is not None:
                self.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(grace)
        finally:
            self.kill()
            self._process.wait()

    def kill(self) -> None:
        """End everything at once. May be called while another thread waits."""
        # bwrap's death is the death of process 1, and that of everything in its PID namespace.
        self._process.kill()
        self.send_signal(signal.SIGKILL)

    def ran_out_of_memory(self) -> bool:
        """See :meth:`envbuild.engine.model.Running.ran_out_of_memory`: something did on this machine."""
        return self.poll() == _KILLED and killed_for_memory() > self._killed_before

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.terminate()
        finally:
            self._resources.close()


# Run by a process of its own between ours and bwrap: makes standard input its controlling terminal.
_TAKE_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@contextmanager
def _anonymous_file(options: Sequence[str]) -> Iterator[int]:
    """A descriptor from which bwrap reads ``options``: arguments can be seen in a process list.

    Raises:
        RepoError: one has a NUL, which separates them there: an image's variable would become options.
    """
    if any("\0" in option for option in options):
        raise RepoError(
            "the image sets a variable that has a NUL character in it",
            code="bad-image",
            remedy="do not use this image",
        )
    handle = os.memfd_create("options")
    try:
        with os.fdopen(handle, "wb", closefd=False) as stream:
            stream.write(b"".join(os.fsencode(option) + b"\0" for option in options))
        os.lseek(handle, 0, os.SEEK_SET)
        yield handle
    finally:
        os.close(handle)


def _first_process(report: bytes) -> tuple[int | None, int | None]:
    """The container's process 1 and a descriptor (pidfd) of it; None when it never was or is already gone."""
    try:
        number = json.loads(report)["child-pid"]
        return number, os.pidfd_open(number)
    except (ValueError, KeyError, ProcessLookupError):
        return None, None


def _exit_code(code: int) -> int:
    return 128 - code if code < 0 else code


def _resize(terminal: int, columns: int, rows: int) -> None:
    termios.tcsetwinsize(terminal, (rows, columns))
