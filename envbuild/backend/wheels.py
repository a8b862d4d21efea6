"""Wheels that a build backend made: checked, and written anew so that the same files are the same bytes.

What a backend writes depends on its version, the clock, the order of a directory and the zlib it found. Here
the members are sorted, have one time and one of two modes, and are stored uncompressed (a layer is compressed
anyway); RECORD is made anew (PEP 427, PEP 376). So a wheel's sha256 says what is in it and nothing else.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from envbuild.errors import RepoError
from envbuild.lock.from_source import Metadata, read_metadata
from envbuild.source.text import clean, quote

__all__ = ["NormalWheel", "check_fits", "normalise", "wheel_metadata"]

# Effects on bytes: a change here changes the sha256 of every wheel that is built.
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_FILE_MODE: Final = 0o644
_EXEC_MODE: Final = 0o755

_MOST_MEMBERS = 200_000
_MOST_BYTES = 8 << 30
_MOST_METADATA = 4 << 20
_CHUNK = 1 << 20
_SIGNATURES = frozenset({"RECORD.jws", "RECORD.p7s"})
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class NormalWheel:
    """A wheel written by :func:`normalise`; ``tags`` are what it fits."""

    filename: str
    metadata: Metadata
    tags: frozenset[Tag]


def normalise(source: Path, target: BinaryIO, tags: Sequence[Tag]) -> NormalWheel:
    """Check the wheel ``source``, whose name is a wheel's, and write it anew into ``target``.

    Parameters:
        target: a new file; seekable.
        tags: what the target takes.

    Raises:
        RepoError: it is damaged, unsafe, too large, or not for the target.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            return _Wheel(archive, source.name).write(target, tags)
    except _BROKEN as error:
        raise _bad(source.name, str(error) or type(error).__name__) from error


def _bad(filename: str, reason: str) -> RepoError:
    return RepoError(
        f"the wheel {quote(filename)} is not valid: {clean(reason)}",
        code="bad-built-wheel",
        remedy="report it to the project's maintainers",
    )


class _Wheel:
    def __init__(self, archive: zipfile.ZipFile, filename: str) -> None:
        self._archive = archive
        self._filename = filename
        try:
            self._name, version, _, self._tags = parse_wheel_filename(filename)
        except (InvalidWheelFilename, InvalidVersion) as error:
            raise _bad(filename, "its name is not a wheel's") from error
        self._version = version
        self._members = dict(self._checked())
        self._info = self._dist_info()

    def _checked(self) -> Iterator[tuple[str, zipfile.ZipInfo]]:
        """The files by path; everything about them is safe."""
        infos = self._archive.infolist()
        if len(infos) > _MOST_MEMBERS or sum(info.file_size for info in infos) > _MOST_BYTES:
            raise _bad(self._filename, "it is larger than any sane wheel")
        seen = set()
        for info in infos:
            name = info.filename
            if info.is_dir():
                continue
            mode = info.external_attr >> 16
            if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise _bad(self._filename, f"{name} is not a regular file")
            if not name.isprintable() or "\\" in name or set(name.split("/")) & {"", ".", ".."}:
                raise _bad(self._filename, f"it wants to write to {name!r}")
            if name in seen:
                raise _bad(self._filename, f"{name} is in it twice")
            seen.add(name)
            if "__pycache__" not in name.split("/"):
                yield name, info

    def _dist_info(self) -> str:
        folders = {name.partition("/")[0] for name in self._members if ".dist-info/" in name}
        if len(folders) != 1:
            raise _bad(self._filename, "it does not have exactly one .dist-info directory")
        (folder,) = folders
        name, _, version = folder.removesuffix(".dist-info").partition("-")
        try:
            fits = (canonicalize_name(name), Version(version)) == (self._name, self._version)
        except InvalidVersion:
            fits = False
        if not fits:
            raise _bad(self._filename, f"{folder} is not for this name and version")
        return folder

    def metadata(self) -> Metadata:
        metadata = read_metadata(self._small("METADATA"), self._filename)
        if (metadata.name, Version(metadata.version)) != (self._name, self._version):
            raise _bad(self._filename, f"METADATA is that of {metadata.name} {metadata.version}")
        return metadata

    def write(self, target: BinaryIO, tags: Sequence[Tag]) -> NormalWheel:
        metadata = self.metadata()
        if not re.search(rb"^Wheel-Version: 1\.", self._small("WHEEL"), re.MULTILINE):
            raise _bad(self._filename, "it is not of version 1")
        check_fits(self._filename, tags)
        left_out = {f"{self._info}/{name}" for name in ("RECORD", *_SIGNATURES)}
        names = sorted(
            (name for name in self._members if name not in left_out),
            key=lambda name: (name.startswith(self._info + "/"), name.encode()),
        )
        record = f"{self._info}/RECORD"
        rows = []
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for name in names:
                digest, size = self._copy(name, archive)
                rows.append((name, f"sha256={digest}", str(size)))
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([*rows, (record, "", "")])
            archive.writestr(_entry(record, executable=False), text.getvalue().encode())
        return NormalWheel(self._filename, metadata, self._tags)

    def _small(self, name: str) -> bytes:
        info = self._members.get(f"{self._info}/{name}")
        if info is None or info.file_size > _MOST_METADATA:
            raise _bad(self._filename, f"it has no usable {name}")
        return self._archive.read(info)

    def _copy(self, name: str, archive: zipfile.ZipFile) -> tuple[str, int]:
        """Copy one member; returns its digest as RECORD has it, and its size."""
        info = self._members[name]
        executable = bool((info.external_attr >> 16) & 0o111)
        digest, size = hashlib.sha256(), 0
        entry = _entry(name, executable=executable)
        entry.file_size = info.file_size  # decides about zip64
        with self._archive.open(info) as source, archive.open(entry, "w") as copy:
            while chunk := source.read(_CHUNK):
                copy.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode(), size


def _entry(name: str, *, executable: bool) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.create_system = 3  # Unix, on whatever this runs
    entry.external_attr = (stat.S_IFREG | (_EXEC_MODE if executable else _FILE_MODE)) << 16
    entry.compress_type = zipfile.ZIP_STORED
    return entry


def check_fits(filename: str, tags: Sequence[Tag]) -> None:
    """Refuse a wheel that the target, which takes ``tags``, does not take.

    Raises:
        RepoError: it does not.
    """
    found = parse_wheel_filename(filename)[3]
    if not found & set(tags):
        raise RepoError(
            f"{quote(filename)} was built for {clean(', '.join(sorted(map(str, found))))},"
            " which the environment does not take",
            code="built-for-another-platform",
            remedy="build on a machine of the target's architecture, or report it to the maintainers",
        )


def wheel_metadata(path: Path, filename: str) -> Metadata:
    """What the wheel at ``path``, called ``filename``, says about itself.

    Raises:
        RepoError: it is not a wheel.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _Wheel(archive, filename).metadata()
    except _BROKEN as error:
        raise _bad(filename, str(error) or type(error).__name__) from error
