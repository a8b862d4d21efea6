"""A layer's tar as files of this machine, and the list of them."""

# Names in layers are bytes, which pathlib does not take.
# ruff: noqa: PTH101, PTH102, PTH211

from __future__ import annotations

import hashlib
import os
import stat
import tarfile

from envbuild.engine.tar_stream import Stream, open_tar
from envbuild.store.directory import Files, describe, path_text

__all__ = ["OPAQUE_ATTRIBUTE", "extract"]

OPAQUE_ATTRIBUTE = b"user.overlay.opaque"
_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_COPY_BYTES = 1 << 20


def extract(stream: Stream, root: bytes) -> Files:
    """Write the entries of a tar below ``root``, an empty directory; returns the list of what is there then.

    Layers are ours, but they may have passed through a registry: a path is only accepted below a directory
    that the same layer made before, so that neither ``..`` nor a symlink leads out.

    Raises:
        ValueError, FileExistsError, tarfile.TarError: it is no layer, or not a safe one.
    """
    digests: dict[bytes, str] = {}
    directories = {b""}
    with open_tar(stream) as archive:
        for member in archive:
            name = member.name.encode("utf-8", "surrogateescape")
            parent, _, last = name.rpartition(b"/")
            if name[:1] == b"/" or last in (b"", b".", b"..") or b"\0" in name or parent not in directories:
                raise ValueError(f"it holds the unsafe path {name!r}")
            path = root + b"/" + name
            digest = ""
            if member.isdir():
                # The owner must be able to enter and to delete, whatever the mode is inside.
                os.mkdir(path, member.mode | 0o700)
                os.chmod(path, (member.mode | 0o700) & 0o1777)
                directories.add(name)
            elif member.issym():
                os.symlink(member.linkname.encode("utf-8", "surrogateescape"), path)
            elif member.isreg() and last == _OPAQUE:
                os.setxattr(root + b"/" + parent, OPAQUE_ATTRIBUTE, b"y")
                continue
            elif member.isreg() and last.startswith(_WHITEOUT):
                removed = last.removeprefix(_WHITEOUT)
                if removed in (b"", b".", b"..") or removed.startswith(_WHITEOUT):
                    raise ValueError(f"it removes {removed!r}")
                name = parent + b"/" + removed if parent else removed
                os.mknod(root + b"/" + name, stat.S_IFCHR, os.makedev(0, 0))
            elif member.isreg():
                digest = _write_file(archive, member, path)
            else:
                raise ValueError(f"it holds {name!r}, which is neither file, directory nor symlink")
            digests[name] = digest
    # Not before: what hides a directory's lower files comes after the directory.
    return {
        path_text(name): describe(root + b"/" + name, os.lstat(root + b"/" + name), digest)
        for name, digest in digests.items()
    }


def _write_file(archive: tarfile.TarFile, member: tarfile.TarInfo, path: bytes) -> str:
    """Write a regular file; returns the sha256 of its content."""
    mode = (member.mode | 0o400) & 0o777
    hashed = hashlib.sha256()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        os.fchmod(handle, mode)
        content = archive.extractfile(member)
        while content is not None and (chunk := content.read(_COPY_BYTES)):
            hashed.update(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(handle, view) :]
    finally:
        os.close(handle)
    return hashed.hexdigest()
