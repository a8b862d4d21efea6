"""The embedded engine: bubblewrap over unpacked layers. No daemon, no root, nothing installed.

The process sees the image with a temporary layer on top, its mounts, and the host's network. It is user
1000 of group 100 inside and the calling user outside. Everything it starts lives in its own PID namespace
and ends with its first process, which ends with the thread that started it.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from envbuild.engine.bubblewrap_tool import find_bubblewrap
from envbuild.engine.model import GRACE_SECONDS, Command
from envbuild.engine.terminal import TERM, TerminalRelay, gets_terminal
from envbuild.engine.trees import unpack
from envbuild.errors import MachineError
from envbuild.image.model import Image
from envbuild.pack import recipe
from envbuild.progress import Reporter, Silent
from envbuild.store import Store

__all__ = ["Bubblewrap"]


class Bubblewrap:
    """See :class:`envbuild.engine.model.Engine`.

    Parameters:
        install: see :func:`envbuild.engine.bubblewrap_tool.find_bubblewrap`.
    """

    name = "bubblewrap"
    listen_address = "127.0.0.1"  # the network is the host's
    runs_as_caller = True

    def __init__(self, store: Store, install: Callable[[Path], None]) -> None:
        self._store = store
        self._install = install
        self._tool: tuple[str, ...] = ()

    def unavailable(self) -> str | None:
        """See :meth:`envbuild.engine.model.Engine.unavailable`."""
        if platform.system() != "Linux":
            return f"it needs Linux, this is {platform.system()}"
        self._tool, reason = find_bubblewrap(self._store, self._install)
        return reason

    def prepare(self, image: Image, *, reporter: Reporter) -> None:
        """Unpack the layers that were not unpacked before."""
        unpack(image, self._store, reporter)

    def start(self, image: Image, command: Command) -> Contained:
        """See :meth:`envbuild.engine.model.Engine.start`."""
        if not self._tool and (reason := self.unavailable()):
            raise _unavailable(reason)
        config = json.loads(self._store.blob_path(image.config.digest).read_bytes())["config"]
        options = [
            *_namespaces(),
            *_root(unpack(image, self._store, Silent())),
            *_mounts(command),
            *_environment(config.get("Env") or (), command),
            *("--chdir", command.workdir),
        ]
        argv = [*(config.get("Entrypoint") or ()), *command.argv]
        return Contained(self._tool, options, argv, command)


def _unavailable(reason: str) -> MachineError:
    return MachineError(f"bubblewrap does not work here: {reason}", code="engine-unavailable")


def _namespaces() -> list[str]:
    user = ["--unshare-user", "--uid", str(recipe.UID), "--gid", str(recipe.GID)]
    # The image's own init (tini) is process 1: it gets our signals and reaps what is orphaned.
    return ["--unshare-all", "--share-net", *user, "--die-with-parent", "--as-pid-1"]


def _root(trees: Iterable[Path]) -> list[str]:
    options = []
    for tree in trees:
        options += ["--overlay-src", str(tree)]
    options += ["--tmp-overlay", "/", "--proc", "/proc", "--dev", "/dev", "--ro-bind-try", "/sys", "/sys"]
    options += ["--perms", "1777", "--tmpfs", "/tmp", "--perms", "0755", "--tmpfs", f"/{recipe.HOME}"]
    for file in ("/etc/resolv.conf", "/etc/hosts"):
        options += ["--ro-bind-try", file, file]
    return options


def _mounts(command: Command) -> list[str]:
    options = []
    for mount in command.mounts:
        options += ["--bind" if mount.writable else "--ro-bind", str(mount.source), mount.target]
    return options


def _environment(image: Iterable[str], command: Command) -> list[str]:
    values = dict(variable.partition("=")[::2] for variable in image)
    if gets_terminal(command):
        values["TERM"] = TERM
    values |= command.env
    options = ["--clearenv"]
    for name, value in sorted(values.items()):
        options += ["--setenv", name, value]
    return options


class Contained:
    """A process in bubblewrap; see :class:`envbuild.engine.model.Running`."""

    def __init__(
        self, bwrap: Sequence[str], options: Sequence[str], argv: Sequence[str], command: Command
    ) -> None:
        self._resources = ExitStack()
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
                    pass_fds=(arguments, report_writer),
                    # Ctrl-C is ours to handle, and so are the ways to type on our terminal.
                    start_new_session=True,
                )
            except OSError as error:
                raise MachineError(
                    f"bubblewrap cannot be started: {error}", code="engine-unavailable"
                ) from error
            finally:
                os.close(report_writer)
            self._first = _first_process(report.read())
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

    def terminate(self, grace: float = GRACE_SECONDS) -> None:
        """See :meth:`envbuild.engine.model.Running.terminate`."""
        try:
            if self._process.poll() is None and self._first is not None:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._first, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(grace)
        finally:
            # bwrap's death is the death of process 1, and that of everything in its PID namespace.
            self._process.kill()
            if self._first is not None:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._first, signal.SIGKILL)
            self._process.wait()

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
    """A descriptor from which bwrap reads ``options``: arguments can be seen in a process list."""
    handle = os.memfd_create("options")
    try:
        with os.fdopen(handle, "wb", closefd=False) as stream:
            stream.write(b"".join(os.fsencode(option) + b"\0" for option in options))
        os.lseek(handle, 0, os.SEEK_SET)
        yield handle
    finally:
        os.close(handle)


def _first_process(report: bytes) -> int | None:
    """A descriptor (pidfd) of the container's process 1; None when it never was or is already gone."""
    try:
        return os.pidfd_open(json.loads(report)["child-pid"])
    except (ValueError, KeyError, ProcessLookupError):
        return None


def _exit_code(code: int) -> int:
    return 128 - code if code < 0 else code


def _resize(terminal: int, columns: int, rows: int) -> None:
    termios.tcsetwinsize(terminal, (rows, columns))
