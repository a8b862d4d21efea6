"""Notes which files Pythons read. This file runs inside the image.

As ``sitecustomize`` on ``PYTHONPATH`` it is part of every Python there, the server's and the kernel's. Each
file is noted once, by a line ``PROCESS PATH`` at the end of the file that ``ENVBUILD_TRACE`` names, which
exists. It needs Python 3.8 or newer, notes nothing in an older one, and can import nothing of envbuild.
"""

import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MOST = 50_000  # names that one process asks for
_LARGEST = 100_000_000  # bytes; a start reads only parts of larger files
_WRITES = os.O_WRONLY | os.O_RDWR


def recorder(record: str) -> "Callable[[Any, int | None], None]":
    """What notes a path in the file ``record``, for the process given or this one; it never raises."""
    known: set[tuple[int | None, str]] = set()

    def note(path: "Any", process: "int | None" = None) -> None:
        try:
            if isinstance(path, bytes):
                path = os.fsdecode(path)
            if not isinstance(path, str) or (process, path) in known or len(known) >= _MOST:
                return
            known.add((process, path))
            real = os.path.realpath(path)
            if real != path and (process, real) in known:
                return
            known.add((process, real))
            found = os.stat(real)
            if stat.S_ISREG(found.st_mode) and 0 < found.st_size <= _LARGEST and real.isprintable():
                line = f"{process or os.getpid()} {real}\n".encode()
                # Opened each time: what is kept open is closed by programs that tidy up, and then theirs.
                handle = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
                os.write(handle, line)
                os.close(handle)
        except Exception:  # whatever it is, the program that asked for the file goes on
            return

    return note


def install(note: "Callable[[Any, int | None], None]") -> None:
    """Note what was imported before, and from now on everything that is opened."""
    if not hasattr(sys, "addaudithook"):
        return
    for module in list(sys.modules.values()):
        spec = getattr(module, "__spec__", None)
        note(getattr(spec, "cached", None) or getattr(spec, "origin", None), None)

    def hook(event: str, arguments: "tuple[Any, ...]") -> None:
        if event == "open" and isinstance(arguments[2], int) and not arguments[2] & _WRITES:
            note(arguments[0], None)
        elif event == "import":  # with a file's name only for modules that are shared libraries
            note(arguments[1], None)

    sys.addaudithook(hook)


def note_mapped(note: "Callable[[Any, int | None], None]") -> None:
    """Note programs and shared libraries of all processes that can be looked at."""
    for name in sorted(filter(str.isdecimal, os.listdir("/proc")), key=int):
        try:
            with open(f"/proc/{name}/maps", encoding="utf-8", errors="surrogateescape") as stream:
                lines = [line.split(None, 5) for line in stream]
        except OSError:
            continue
        for line in lines:
            if len(line) == 6 and line[5].startswith("/"):
                note(line[5].rstrip("\n"), int(name))


if os.environ.get("ENVBUILD_TRACE"):
    note = recorder(os.environ["ENVBUILD_TRACE"])
    install(note)
