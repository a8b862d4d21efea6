"""The layers of somebody else's image as one directory: what their files are when all of them are applied.

Layers follow layer.md of the OCI image specification 1.1, and their makers need not mean well. Every step to
a place is taken below an open directory and follows no link, so nothing is made, changed or removed anywhere
else. What is there belongs to the calling user, and has no set-uid bits, devices, pipes or extended
attributes.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tarfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from envbuild.engine.tar_stream import TarStream, open_tar
from envbuild.errors import RepoError
from envbuild.image.blobs import blob_chunks, layer_chunks
from envbuild.image.model import Layer
from envbuild.progress import Stage
from envbuild.source.text import printable
from envbuild.store import Store

__all__ = ["apply_layers"]

_COPY_BYTES: Final = 1 << 20
_WHITEOUT: Final = b".wh."
_OPAQUE: Final = b".wh..wh..opq"
_OTHER_MARKS: Final = b".wh..wh."  # of aufs, which nobody needs
# Beyond what any image has; a layer of zeros is small until it is unpacked.
_MOST_BYTES: Final = 64 << 30
_MOST_ENTRIES: Final = 2_000_000
_DEEPEST: Final = 200
_OF_THE_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES})
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def apply_layers(
    layers: Iterable[Layer], root: Path, *, store: Store, stage: Stage, stopped: threading.Event
) -> list[int]:
    """Write the files of ``layers`` (bottom to top, in the store) to the empty directory ``root``.

    Returns the sizes of their tars, in bytes.

    Raises:
        RepoError: a layer is not one that every engine would understand in the same way, or not a sane one.
        MachineError: a blob is missing or damaged.
    """
    sizes: list[int] = []
    handle = os.open(root, _DIRECTORY)
    try:
        tree = _Tree(handle)
        for layer in layers:
            stream = TarStream(layer_chunks(store, layer), stage, stopped, _MOST_BYTES - sum(sizes))
            try:
                tree.apply(stream)
                stream.finish()
            except (ValueError, OSError, RecursionError, tarfile.TarError) as error:
                if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
                    raise
                for _ in blob_chunks(store, layer.digest):
                    pass  # it may be our copy that is damaged, which this says
                raise _refused(layer, error) from error
            sizes.append(stream.size)
    finally:
        os.close(handle)
    return sizes


def _refused(layer: Layer, error: Exception) -> RepoError:
    reason = str(error) or type(error).__name__
    if isinstance(error, OSError):
        reason = f"it has a file that cannot be made: {error.strerror}"
    return RepoError(
        f"a layer of {layer.title} cannot be used: {printable(reason)}",
        code="unsafe-base-layer",
        remedy="use another image as the base, or build that one with a current tool",
        detail=layer.digest,
    )


class _Tree:
    """A directory that layers are applied to, one after the other."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._entries = 0
        self._made: set[bytes] = set()  # what the layer that is being applied has, with all directories above

    def apply(self, stream: TarStream) -> None:
        """Apply one layer.

        Raises:
            ValueError: an entry is not one that can be understood.
            OSError: one cannot be made.
        """
        self._made = set()
        with open_tar(stream) as archive:
            for member in archive:
                self._entries += 1
                if self._entries > _MOST_ENTRIES:
                    raise ValueError(f"there are more than {_MOST_ENTRIES} files")
                path = _parts(member.name)
                if path:
                    self._apply(archive, member, path)

    def _apply(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: Sequence[bytes]) -> None:
        *above, name = path
        if name.startswith(_WHITEOUT):
            self._remove_below(above, name)
            return
        with self._directory(above, make=True) as parent:
            self._note(path)
            if member.isdir():
                self._make_directory(parent, name, member.mode)
                return
            _remove(parent, name)
            if member.issym():
                target = member.linkname.encode("utf-8", "surrogateescape")
                os.symlink(target, name, dir_fd=parent)
            elif member.islnk():
                self._link(parent, name, _parts(member.linkname))
            elif member.isreg():
                if member.issparse():
                    raise ValueError("it has a sparse file")
                _write_file(archive, member, parent, name)
            # Devices and pipes are left out: engines mount /dev, and nothing else needs them.

    def _note(self, path: Sequence[bytes]) -> None:
        for length in range(len(path), 0, -1):
            above = b"/".join(path[:length])
            if above in self._made:
                break
            self._made.add(above)

    @contextmanager
    def _directory(self, path: Sequence[bytes], *, make: bool = False) -> Iterator[int]:
        """A descriptor of the directory ``path``, to which no link leads.

        Raises:
            ValueError: something that is no directory is on the way: engines disagree about what that means.
            FileNotFoundError: it is not there, and is not to be made.
        """
        handle = os.dup(self._root)
        try:
            for number, part in enumerate(path, 1):
                try:
                    below = os.open(part, _DIRECTORY, dir_fd=handle)
                except FileNotFoundError:
                    if not make:
                        raise
                    os.mkdir(part, 0o755, dir_fd=handle)
                    below = os.open(part, _DIRECTORY, dir_fd=handle)
                except OSError as error:
                    if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                        raise
                    shown = b"/".join(path[:number]).decode("utf-8", "replace")
                    raise ValueError(f"it has files below /{shown}, which is no directory") from error
                os.close(handle)
                handle = below
            yield handle
        finally:
            os.close(handle)

    def _make_directory(self, parent: int, name: bytes, mode: int) -> None:
        status = _status(parent, name)
        if status is None or not stat.S_ISDIR(status.st_mode):
            _remove(parent, name)
            os.mkdir(name, 0o755, dir_fd=parent)
        # The owner must be able to enter and to delete, whatever the mode is inside.
        os.chmod(name, (mode & 0o1777) | 0o700, dir_fd=parent)

    def _link(self, parent: int, name: bytes, target: Sequence[bytes]) -> None:
        if not target:
            raise ValueError("it has a hard link to nothing")
        *above, last = target
        try:
            with self._directory(above) as source:
                os.link(last, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except (FileNotFoundError, PermissionError) as error:
            shown = b"/".join(target).decode("utf-8", "replace")
            raise ValueError(f"it has a hard link to /{shown}, which is no file") from error

    def _remove_below(self, above: Sequence[bytes], name: bytes) -> None:
        """Do what the whiteout ``name`` in the directory ``above`` says; it is about lower layers only."""
        if name != _OPAQUE and name.startswith(_OTHER_MARKS):
            return
        with suppress(FileNotFoundError), self._directory(above) as parent:
            if name == _OPAQUE:
                self._clear(parent, b"/".join(above))
                return
            gone = name.removeprefix(_WHITEOUT)
            if gone in (b"", b".", b".."):
                raise ValueError(f"it removes {gone!r}")
            if b"/".join((*above, gone)) not in self._made:
                _remove(parent, gone)

    def _clear(self, directory: int, path: bytes) -> None:
        """Remove what lower layers have in ``directory``."""
        for entry in os.listdir(directory):
            name = os.fsencode(entry)
            below = path + b"/" + name if path else name
            if below not in self._made:
                _remove(directory, name)
                continue
            status = _status(directory, name)
            if status is not None and stat.S_ISDIR(status.st_mode):
                handle = os.open(name, _DIRECTORY, dir_fd=directory)
                try:
                    self._clear(handle, below)
                finally:
                    os.close(handle)


def _parts(name: str) -> list[bytes]:
    """The components of a path in a tar; none for the root itself.

    Raises:
        ValueError: it leads out, or is too long.
    """
    parts = [part for part in name.encode("utf-8", "surrogateescape").split(b"/") if part not in (b"", b".")]
    if b".." in parts or any(b"\0" in part for part in parts):
        raise ValueError(f"it has the unsafe path {name[:200]!r}")
    if len(parts) > _DEEPEST:
        raise ValueError(f"it has directories more than {_DEEPEST} deep")
    return parts


def _status(parent: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _remove(parent: int, name: bytes) -> None:
    """Remove ``name`` and, if it is a directory, what is below it."""
    status = _status(parent, name)
    if status is None:
        return
    if stat.S_ISDIR(status.st_mode):
        shutil.rmtree(name, dir_fd=parent)
    else:
        os.unlink(name, dir_fd=parent)


def _write_file(archive: tarfile.TarFile, member: tarfile.TarInfo, parent: int, name: bytes) -> None:
    mode = (member.mode | 0o400) & 0o777
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(name, flags, mode, dir_fd=parent)
    try:
        os.fchmod(handle, mode)
        content = archive.extractfile(member)
        while content is not None and (chunk := content.read(_COPY_BYTES)):
            view = memoryview(chunk)
            while view:
                view = view[os.write(handle, view) :]
    finally:
        os.close(handle)
