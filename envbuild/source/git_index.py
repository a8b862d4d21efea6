"""Which files git tracks, read from ``.git/index`` without running git.

Format: gitformat-index(5), versions 2 to 4. git itself would read the repository's configuration, which may
name programs for it to start.
"""

from __future__ import annotations

from envbuild.errors import RepoError
from envbuild.source.repo import Repo

__all__ = ["tracked_files"]

_MOST_BYTES = 256 << 20
_FIXED = 40  # bytes of an entry before the object's name
_EXTENDED = 0x4000
_NAME_LENGTHS = (20, 32)  # of SHA-1 and SHA-256


def tracked_files(repo: Repo) -> frozenset[bytes] | None:
    """The paths that git tracks; None when there is no index or it is of a form that is not understood.

    Raises:
        RepoError: the index is there and cannot be read.
    """
    try:
        data = repo.read(".git/index", _MOST_BYTES)
    except RepoError as error:
        # A work tree whose .git is elsewhere has none that can be seen from here.
        if error.code in ("file-not-found", "outside-repository", "file-too-large"):
            return None
        raise
    version = int.from_bytes(data[4:8], "big")
    if data[:4] != b"DIRC" or version not in (2, 3, 4):
        return None
    for length in _NAME_LENGTHS:
        try:
            return _entries(data, version, int.from_bytes(data[8:12], "big"), length)
        except (ValueError, IndexError):
            continue
    return None


def _entries(data: bytes, version: int, count: int, name_length: int) -> frozenset[bytes]:
    paths: list[bytes] = []
    position = 12
    before = b""
    for _ in range(count):
        start = position
        position += _FIXED + name_length
        flags = int.from_bytes(data[position : position + 2], "big")
        position += 4 if flags & _EXTENDED else 2
        if flags & _EXTENDED and version < 3:
            raise ValueError("flags of another version")
        if version == 4:
            removed, position = _number(data, position)
            if removed > len(before):
                raise ValueError("a path is shorter than nothing")
            end = data.index(b"\0", position)
            path = before[: len(before) - removed] + data[position:end]
            position = end + 1
        else:
            end = data.index(b"\0", position)
            path = data[position:end]
            # Padded with 1 to 8 NULs to a multiple of eight.
            position = start + ((end - start) // 8 + 1) * 8
        if not path or path.startswith(b"/") or (path <= before and not flags & 0x3000):
            raise ValueError("paths are not in order")
        paths.append(path)
        before = path
    extension = data[position : position + 4]
    if position > len(data) - name_length or extension in (b"link", b"sdir"):
        raise ValueError("a part of the index is elsewhere")
    return frozenset(paths)


def _number(data: bytes, position: int) -> tuple[int, int]:
    """``(value, position behind it)`` in the encoding of offsets in packs."""
    byte = data[position]
    value = byte & 0x7F
    while byte & 0x80:
        position += 1
        byte = data[position]
        value = ((value + 1) << 7) | (byte & 0x7F)
        if value > _MOST_BYTES:
            raise ValueError("a number is too large")
    return value, position + 1
