"""Files that users name on the command line, to be written."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild.errors import MachineError
from envbuild.store.disk import write_atomic

if TYPE_CHECKING:
    from envbuild.cli.console import Console

__all__ = ["give", "require_writable", "write_named"]


def give(console: Console, text: str, output: Path | None) -> None:
    """Write ``text`` to ``output``, see :func:`write_named`; without one print it, unless ``--json`` does.

    Raises:
        MachineError: as there.
    """
    if output is not None:
        write_named(output, text.encode(), "--output")
        console.note(f"wrote {output}")
    else:
        console.result(*text.removesuffix("\n").split("\n"))


def write_named(path: Path, data: bytes, option: str) -> None:
    """Write ``data`` to ``path``, which ``option`` named, whole or not at all; its directory is made.

    Raises:
        MachineError: it cannot be written (``not-writable``).
    """
    require_writable(path, option)
    try:
        write_atomic(path.absolute(), data)
    except OSError as error:
        raise _not_writable(path, option, error) from error


def require_writable(path: Path, option: str) -> None:
    """Make the directory of ``path``, which ``option`` named: what takes minutes asks before, not afterwards.

    Raises:
        MachineError: nothing can be written there (``not-writable``).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(path, option, error) from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise _not_writable(path, option, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def _not_writable(path: Path, option: str, error: OSError) -> MachineError:
    # Of a directory that cannot be made because a file is in its place, Linux says that it exists.
    reason = "Not a directory" if isinstance(error, FileExistsError) else error.strerror
    return MachineError(
        f"this cannot be written: {reason}",
        code="not-writable",
        file=str(path),
        remedy=f"name a file you may write with {option}",
    )
