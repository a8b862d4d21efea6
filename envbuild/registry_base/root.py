"""The files of an unpacked image, by the paths they have there. Links are followed inside of it alone."""

# Names in images are bytes; paths that are asked for are texts.
# ruff: noqa: PTH115, PTH208

from __future__ import annotations

import os
import posixpath
import stat
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Root"]

_MOST_LINKS = 40  # as in Linux


@dataclass(frozen=True, slots=True)
class Root:
    """``directory`` holds the image's files, as :func:`envbuild.engine.trees.flatten` makes it."""

    directory: Path

    def resolve(self, path: str) -> str | None:
        """The absolute ``path`` with every link followed; None when it leads nowhere."""
        links = 0
        done = ""
        waiting = _split(path)
        while waiting:
            part = waiting.pop(0)
            if part == "..":
                done = posixpath.dirname(done).rstrip("/")
                continue
            step = f"{done}/{part}"
            status = self._lstat(step)
            if status is None:
                return None
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MOST_LINKS:
                    return None
                target = os.readlink(self._place(step))
                if target.startswith("/"):
                    done = ""
                waiting = [*_split(target), *waiting]
                continue
            if waiting and not stat.S_ISDIR(status.st_mode):
                return None
            done = step
        return done or "/"

    def status(self, path: str) -> os.stat_result | None:
        """What is at ``path``, links followed; None when it leads nowhere."""
        real = self.resolve(path)
        return None if real is None else self._lstat(real)

    def is_file(self, path: str) -> bool:
        """Whether ``path`` leads to a regular file."""
        status = self.status(path)
        return status is not None and stat.S_ISREG(status.st_mode)

    def is_directory(self, path: str, *, itself: bool = False) -> bool:
        """Whether ``path`` leads to a directory; or with ``itself`` is one, rather than a link to one."""
        status = self.status(path)
        found = status is not None and stat.S_ISDIR(status.st_mode)
        return found and not (itself and self.resolve(path) != path)

    def is_open_to_all(self, path: str) -> bool:
        """Whether anybody may read the file or directory that ``path`` leads to, and get there."""
        real = self.resolve(path)
        if real is None:
            return False
        above = [part for part in _parents(real) if part != "/"]
        statuses = [self._lstat(part) for part in (*above, real)]
        needed = [*(stat.S_IXOTH for _ in above), stat.S_IROTH]
        return all(
            status is not None and status.st_mode & bit for status, bit in zip(statuses, needed, strict=True)
        )

    def names(self, path: str) -> list[str]:
        """The names in the directory that ``path`` leads to, sorted; none when it is no directory."""
        real = self.resolve(path)
        return sorted(os.listdir(self._place(real))) if real is not None and self.is_directory(real) else []

    def read(self, path: str, limit: int) -> bytes | None:
        """The content of the file that ``path`` leads to; None when there is none, or it has more bytes."""
        real = self.resolve(path)
        status = None if real is None else self._lstat(real)
        if real is None or status is None or not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            return None
        handle = os.open(self._place(real), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as stream:
            return stream.read(limit)

    def _place(self, real: str) -> str:
        return f"{self.directory}/{real.lstrip('/')}"

    def _lstat(self, real: str) -> os.stat_result | None:
        try:
            return os.lstat(self._place(real))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError):  # no name that could be there
            return None


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _parents(path: str) -> list[str]:
    parts = _split(path)[:-1]
    return ["/" + "/".join(parts[: number + 1]) for number in range(len(parts))]
