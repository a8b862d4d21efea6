"""From what a step left behind to the entries of a layer.

The layer says how the image's files look afterwards, not what happened to them: a file that was written with
what it held already is not in it, and a directory that was removed and made anew is described by what is gone
and what is new. So it is the same for every engine, and no larger than it has to be.

Left out is what a layer cannot hold (devices, sockets, pipes, names that mean a removal), what
:data:`envbuild.pack.recipe.NOT_CAPTURED` names, and bytecode that goes by its source's time: all times are
normalised, so Python would not use it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from envbuild.pack import recipe
from envbuild.pack.tar import Entry, directory, file, symlink
from envbuild.sandbox.files import Found, Lower

__all__ = ["find_changes"]

_WHITEOUT: Final = b".wh."
_BYTECODE_DIRECTORY: Final = b"__pycache__"
_OWN: Final = tuple(f"{place}/".encode() for place in (recipe.REPO_DIR, recipe.HOME))


def find_changes(
    found: Mapping[bytes, Found],
    removed: Collection[bytes],
    replaced: Collection[bytes],
    lower: Lower,
    *,
    mounts: Collection[bytes] = (),
    ignored: Collection[bytes] = (),
) -> tuple[Entry, ...]:
    """Entries for :func:`envbuild.pack.tar.complete`: times, owners and modes normalised, sorted by path.

    What was removed is an empty file ``.wh.<name>`` (OCI image specification 1.1, layer.md).

    Parameters:
        found: everything that was made or touched, by path.
        removed: what the image had and is gone.
        replaced: directories in ``found`` that were removed and made anew.
        lower: the image's own files.
        mounts: where something was mounted; engines make directories for that.
        ignored: further paths that are not captured.
    """
    return _Changes(found, lower, mounts, ignored).collect(removed, replaced)


class _Changes:
    def __init__(
        self,
        found: Mapping[bytes, Found],
        lower: Lower,
        mounts: Collection[bytes],
        ignored: Collection[bytes],
    ) -> None:
        self._lower = lower
        self._ignored = {path.encode() for path in recipe.NOT_CAPTURED} | {*ignored, *mounts}
        self._ways = {above for mount in mounts for above in _parents(mount)}
        self._found = {path: what for path, what in sorted(found.items()) if self._counts(path, what)}
        self._entries: dict[bytes, Entry] = {}

    def collect(self, removed: Collection[bytes], replaced: Collection[bytes]) -> tuple[Entry, ...]:
        new_directories = []
        for path, what in self._found.items():
            old = self._lower.get(path)
            if what.kind == "dir" and (old is None or old.kind != "dir"):
                new_directories.append(path)
            if old is None or not what.same_as(old):
                self._entries[path] = _entry(path, what)
        for path in removed:
            self._remove(path)
        for path in self._anew(replaced):
            for name in self._lower.names(path):
                if path + b"/" + name not in self._found:
                    self._remove(path + b"/" + name)
        self._remove_stale_bytecode()
        for path in sorted(new_directories, reverse=True):
            if (path in self._ways or path.endswith(_BYTECODE_DIRECTORY)) and not self._has_content(path):
                del self._entries[path]
        for path in list(self._entries):
            for above in _parents(path):
                if above.startswith(_OWN):
                    self._entries.setdefault(above, _entry(above, Found("dir")))
        return tuple(self._entries[path] for path in sorted(self._entries))

    def _counts(self, path: bytes, what: Found) -> bool:
        parent, _, name = path.rpartition(b"/")
        bytecode = name.endswith(b".pyc") and parent.endswith(_BYTECODE_DIRECTORY)
        unusable = name.startswith(_WHITEOUT) or (bytecode and _goes_by_time(what))
        return not unusable and not self._is_ignored(path)

    def _is_ignored(self, path: bytes) -> bool:
        return path in self._ignored or any(above in self._ignored for above in _parents(path))

    def _anew(self, replaced: Collection[bytes]) -> Iterator[bytes]:
        """Directories of which nothing is left of what they had: replaced ones, and all below those."""
        for path, what in self._found.items():
            if what.kind == "dir" and (
                path in replaced or any(above in replaced for above in _parents(path))
            ):
                yield path

    def _remove(self, path: bytes) -> None:
        if not self._is_ignored(path) and self._lower.get(path) is not None:
            parent, slash, name = path.rpartition(b"/")
            place = parent + slash + _WHITEOUT + name
            self._entries[place] = file(place, b"")

    def _remove_stale_bytecode(self) -> None:
        """Bytecode in the image is not checked against its source, so it goes when the source changes."""
        for path in list(self._entries):
            parent, slash, name = path.rpartition(b"/")
            source = name.removeprefix(_WHITEOUT)
            if not source.endswith(b".py"):
                continue
            cache = parent + slash + _BYTECODE_DIRECTORY
            for other in self._lower.names(cache):
                place = cache + b"/" + other
                if other.startswith(source[:-2] + b"cpython-") and place not in self._entries:
                    self._remove(place)

    def _has_content(self, path: bytes) -> bool:
        return any(other.startswith(path + b"/") for other in self._entries)


def _parents(path: bytes) -> Iterator[bytes]:
    while slash := path.rfind(b"/") + 1:
        path = path[: slash - 1]
        yield path


def _goes_by_time(what: Found) -> bool:
    """Whether bytecode is used only while its source has a certain time (PEP 552: flags of zero)."""
    return what.kind == "file" and next(what.chunks(), b"")[4:8] == b"\0\0\0\0"


def _entry(path: bytes, what: Found) -> Entry:
    own = path.startswith(_OWN)
    uid, gid = (recipe.UID, recipe.GID) if own else (0, 0)
    if what.kind == "dir":
        return Entry(path, "dir", recipe.USER_DIR_MODE, uid=uid, gid=gid) if own else directory(path)
    if what.kind == "symlink":
        return symlink(path, what.target, uid=uid, gid=gid)
    if own:
        mode = recipe.USER_EXEC_MODE if what.executable else recipe.USER_FILE_MODE
    else:
        mode = recipe.EXEC_MODE if what.executable else recipe.FILE_MODE
    return file(path, what.chunks, size=what.size, mode=mode, uid=uid, gid=gid)
