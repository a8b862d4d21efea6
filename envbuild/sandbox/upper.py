"""Directories that overlayfs writes a step's changes to, and reading them when the step is over."""

# Names are bytes, which pathlib does not take.
# ruff: noqa: PTH101, PTH208

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from envbuild.engine.trees import is_opaque, is_whiteout
from envbuild.errors import RepoError
from envbuild.sandbox.files import Found, examine
from envbuild.store import Store

__all__ = ["MOST_FILES", "Left", "read_upper", "scratch_directory"]

MOST_FILES = 1_000_000
_LONGEST_PATH = 3500  # bytes; the system's limit is 4096, and the scratch directory's own path is before it


@dataclass(frozen=True, slots=True)
class Left:
    """What a step left: files it made or touched, names it removed, directories it made anew; all by path."""

    found: dict[bytes, Found] = field(default_factory=dict)
    removed: set[bytes] = field(default_factory=set)
    replaced: set[bytes] = field(default_factory=set)


def read_upper(upper: Path, prefix: str, left: Left) -> None:
    """Add to ``left`` what is in an overlay's upper directory, which no process uses any more.

    Parameters:
        prefix: where the overlay was in the image, without slashes around it; "" for the root.

    Raises:
        RepoError: there are more files, or longer paths, than any sane layer has.
    """
    waiting = [(os.fsencode(upper), prefix.encode())]
    while waiting:
        place, path = waiting.pop()
        if len(path) > _LONGEST_PATH or len(left.found) > MOST_FILES:
            raise RepoError(
                f"what ran in the sandbox left more than {MOST_FILES} files, or paths longer than"
                f" {_LONGEST_PATH} bytes",
                code="too-many-files",
                remedy="let it write what is not to be kept to /tmp",
            )
        # A step may have locked itself out; inside, root does not notice, but we may be another user.
        os.chmod(place, 0o700 | stat.S_IMODE(os.lstat(place).st_mode))
        if path != prefix.encode() and is_opaque(place):
            left.replaced.add(path)
        for name in sorted(os.listdir(place)):
            below = place + b"/" + name
            inside = path + b"/" + name if path else name
            status = os.lstat(below)
            if is_whiteout(status):
                left.removed.add(inside)
                continue
            found = examine(below, status)
            if found is None:
                continue
            left.found[inside] = found
            if found.kind == "dir":
                waiting.append((below, inside))
            elif found.kind == "file" and not status.st_mode & stat.S_IRUSR:
                os.chmod(below, 0o400 | stat.S_IMODE(status.st_mode))


@contextmanager
def scratch_directory(store: Store) -> Iterator[Path]:
    """A directory in the store for what a step writes; all of it is gone after the block."""
    with store.temporary_directory() as directory:
        try:
            yield directory
        finally:
            # Steps, and overlayfs itself, leave directories that their owner may not enter, and trees deeper
            # than what Python's own function can remove.
            for options in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
                subprocess.run(
                    [*options, "--", str(directory)], stderr=subprocess.DEVNULL, check=False, timeout=600
                )
