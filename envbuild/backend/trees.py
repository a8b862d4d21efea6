"""Source trees on disk: from an archive, or from a project in the repository. Nothing of them is run here."""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from envbuild.errors import RepoError
from envbuild.pack import recipe
from envbuild.source import Repo, RepoFile
from envbuild.source.text import clean, quote

__all__ = ["copy_project", "copy_tree", "project_digest", "unpack_source"]

_MOST_MEMBERS = 200_000
_MOST_BYTES = 4 << 30
_CHUNK = 1 << 20
_OWN_FILES = frozenset({b"envbuild.lock"})
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError)


def unpack_source(archive: Path, filename: str, directory: Path) -> Path:
    """Unpack the source archive ``archive``, called ``filename``, into ``directory``, which is made.

    Returns:
        the directory of the project: that which the archive has as the only one, or ``directory``.

    Raises:
        RepoError: it is damaged, too large, or wants to write elsewhere.
    """
    directory.mkdir()
    try:
        if filename.lower().endswith(".zip"):
            _unzip(archive, directory)
        else:
            _untar(archive, directory)
    except (*_BROKEN, ValueError, KeyError) as error:
        raise RepoError(
            f"the source archive {quote(filename)} cannot be unpacked: {clean(str(error))}",
            code="bad-source-archive",
            remedy="report it to those who published it",
        ) from error
    _settle(directory)
    found = list(directory.iterdir())
    alone = len(found) == 1 and found[0].is_dir() and not found[0].is_symlink()
    return found[0] if alone else directory


def _untar(path: Path, directory: Path) -> None:
    """Not ``tarfile``'s own extraction: its safe way is not in every Python 3.11."""
    total = 0
    with tarfile.open(path) as archive:
        for number, member in enumerate(archive):
            total += member.size
            if number > _MOST_MEMBERS or total > _MOST_BYTES:
                raise ValueError("it is larger than any sane project")
            target = _place(directory, member.name)
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
            elif member.issym():
                _check_link(directory, target, member.linkname)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(member.linkname)
            elif (
                source := archive.extractfile(member) if member.isreg() or member.islnk() else None
            ) is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                with source, target.open("xb") as copy:
                    shutil.copyfileobj(source, copy, _CHUNK)
                target.chmod(0o755 if member.mode & 0o100 else 0o644)


def _place(directory: Path, name: str) -> Path:
    """Where the member ``name`` goes; never through a link, and never out of ``directory``."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise ValueError(f"it wants to write to {name!r}")
    target = directory.joinpath(*path.parts)
    for parent in (target, *target.parents):
        if parent == directory:
            break
        if parent.is_symlink():
            raise ValueError(f"it wants to write through a link to {name!r}")
    return target


def _check_link(directory: Path, target: Path, link: str) -> None:
    meant = posixpath.normpath(posixpath.join(target.parent.relative_to(directory).as_posix(), link))
    if link.startswith("/") or meant == ".." or meant.startswith("../"):
        raise ValueError(f"its link {target.name!r} leads out of it")


def _unzip(path: Path, directory: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        if len(infos) > _MOST_MEMBERS or sum(info.file_size for info in infos) > _MOST_BYTES:
            raise ValueError("it is larger than any sane project")
        for info in infos:
            target = _place(directory, info.filename)
            if info.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, target.open("xb") as copy:
                shutil.copyfileobj(source, copy, _CHUNK)
            target.chmod(0o755 if (info.external_attr >> 16) & 0o100 else 0o644)


def copy_tree(source: Path, directory: Path) -> None:
    """Copy the tree ``source``, which nobody writes to, to ``directory``, which is made."""
    shutil.copytree(source, directory, symlinks=True)
    _settle(directory)


def copy_project(repo: Repo, location: str, directory: Path) -> None:
    """Copy the files of the project at ``location`` to ``directory``, which stands for the repository's root.

    Notebooks are left out, so that a change in one is no change of the project.

    Raises:
        RepoError: a file cannot be read.
    """
    directory.mkdir()
    for item in _project_files(repo, location):
        place = directory / os.fsdecode(item.path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if item.kind == "dir":
            place.mkdir(exist_ok=True)
        elif item.kind == "symlink":
            place.symlink_to(os.fsdecode(item.target))
        elif item.kind == "file":
            with place.open("xb") as copy:
                for chunk in repo.open_content(item.path, size=item.size):
                    copy.write(chunk)
            place.chmod(0o755 if item.executable else 0o644)
    _settle(directory)


def project_digest(repo: Repo, location: str) -> str:
    """Hex digest of what :func:`copy_project` copies.

    Raises:
        RepoError: a file cannot be read.
    """
    digest = hashlib.sha256(repr(location).encode())
    for item in _project_files(repo, location):
        content = hashlib.sha256(item.target)
        if item.kind == "file":
            for chunk in repo.open_content(item.path, size=item.size):
                content.update(chunk)
        digest.update(repr((item.path, item.kind, item.executable, content.hexdigest())).encode())
    return digest.hexdigest()


def _project_files(repo: Repo, location: str) -> Iterator[RepoFile]:
    prefix = b"" if location == "." else os.fsencode(location) + b"/"
    for item in repo.files():
        own = item.path in _OWN_FILES or item.path.endswith(b".ipynb")
        if item.path.startswith(prefix) and not own:
            yield item


def _settle(directory: Path) -> None:
    """One time for everything, and modes with which any user of the sandbox can work in it."""
    for folder, _, files in os.walk(directory, topdown=False):
        for name in files:
            path = Path(folder, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                path.chmod(0o777 if status.st_mode & 0o100 else 0o666)
            os.utime(path, (recipe.MTIME, recipe.MTIME), follow_symlinks=False)
        Path(folder).chmod(0o777)
        os.utime(folder, (recipe.MTIME, recipe.MTIME))
