"""What is kept of the files that an installation of Debian packages leaves: the same each time.

Owners, modes and times are normalised for every step (:mod:`envbuild.sandbox.changes`). Here is what is
special to dpkg and maintainer scripts; the tables are in :mod:`envbuild.pack.recipe` (``APT_...``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from envbuild.pack import recipe
from envbuild.pack.tar import Entry

__all__ = ["tidied"]

_NOT_KEPT = re.compile("|".join(f"(?:{pattern})" for pattern in recipe.APT_NOT_KEPT).encode())
_DATED_LINES = {
    path.encode(): re.compile(pattern.encode()) for path, pattern in recipe.APT_DATED_LINES.items()
}
_WHITEOUT = b".wh."
_DAYS = 2  # the field of shadow(5) with the day of the last change of the password


def tidied(entries: Iterable[Entry]) -> Iterator[Entry]:
    """``entries`` of a layer without what differs from run to run or has no use in an image."""
    for entry in entries:
        parent, slash, name = entry.path.rpartition(b"/")
        if _NOT_KEPT.fullmatch(parent + slash + name.removeprefix(_WHITEOUT)):
            continue
        yield _rewritten(entry) if entry.kind == "file" else entry


def _rewritten(entry: Entry) -> Entry:
    dated = _DATED_LINES.get(entry.path)
    if dated is None and entry.path != b"etc/shadow":
        return entry
    content = b"".join(entry.chunks())
    content = _without_days(content) if dated is None else dated.sub(b"", content)
    return replace(entry, content=content, size=len(content))


def _without_days(shadow: bytes) -> bytes:
    """Users are as old as the base's: nobody ever set a password."""
    lines = []
    for line in shadow.splitlines():
        fields = line.split(b":")
        fields[_DAYS : _DAYS + 1] = [b""]
        lines.append(b":".join(fields) + b"\n")
    return b"".join(lines)
