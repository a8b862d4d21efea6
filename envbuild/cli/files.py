"""Files that users name on the command line, to be written."""

from __future__ import annotations

from pathlib import Path

from envbuild.errors import MachineError
from envbuild.store.disk import write_atomic

__all__ = ["write_report"]


def write_report(path: Path, report: bytes, option: str) -> None:
    """Write ``report`` to ``path``, which ``option`` named, whole or not at all; its directory is made.

    Raises:
        MachineError: it cannot be written (``not-writable``).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path.absolute(), report)
    except OSError as error:
        raise MachineError(
            f"the report cannot be written: {error.strerror}",
            code="not-writable",
            file=str(path),
            remedy=f"name a file you may write with {option}",
        ) from error
