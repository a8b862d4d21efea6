"""A wheel as layer entries: what an installer would put on disk, without a disk.

The ``installer`` library reads the wheel and decides what goes where (PEP 427, PEP 491); here is only the
destination, which remembers *where in the zip file* a file's bytes are instead of copying them.
"""

from __future__ import annotations

import base64
import configparser
import csv
import errno
import hashlib
import io
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

import installer
from installer.destinations import WheelDestination
from installer.exceptions import InstallerError
from installer.records import Hash, RecordEntry, parse_record_file
from installer.sources import WheelContentElement, WheelFile
from installer.utils import Scheme

from envbuild.errors import RepoError
from envbuild.pack import tar
from envbuild.pack.bytecode import Bytecode, Compiler, cache_path, wants_bytecode
from envbuild.pack.entry_point import entry_point_script

__all__ = ["Prefix", "WheelArchive", "wheel_entries"]

_CHUNK = 1 << 20
# What installer and the standard library raise for wheels that break the rules; installer asserts some.
_INVALID = (
    InstallerError,
    ValueError,
    KeyError,
    AssertionError,
    AttributeError,
    configparser.Error,
    zipfile.BadZipFile,
)
# A zip file's directory can send its reader to before the beginning: EINVAL. Other trouble is the disk's.
_NOWHERE = "its directory leads nowhere"


@dataclass(frozen=True, slots=True)
class Prefix:
    """An environment's place in the image: ``path`` without leading ``/``, ``python`` as ``3.11``.

    ``libraries`` is where that Python looks for packages, relative to ``path``, if that is not the usual
    place (conda's ``python_site_packages_path``, CEP 17).
    """

    path: str
    python: str
    libraries: str = ""

    @property
    def site_packages(self) -> str:
        """Where pure and platform libraries go."""
        return f"{self.path}/{self.libraries or f'lib/python{self.python}/site-packages'}"

    def place(self, scheme: str, distribution: str) -> str:
        """The directory of one of the wheel's schemes."""
        return {
            "purelib": self.site_packages,
            "platlib": self.site_packages,
            "scripts": f"{self.path}/bin",
            "data": self.path,
            "headers": f"{self.path}/include/site/python{self.python}/{distribution}",
        }[scheme]


class _Member(io.BytesIO):
    """Stands where installer expects a stream: says where the bytes are, and is never read."""

    def __init__(self, info: zipfile.ZipInfo, digest: str, size: str) -> None:
        super().__init__()
        self.info = info
        self.digest = digest
        self.recorded_size = size


class WheelArchive(WheelFile):
    """An open wheel whose file on disk is not named like one (the store names files by digest)."""

    def __init__(self, archive: zipfile.ZipFile, path: Path, filename: str) -> None:
        archive.filename = filename
        super().__init__(archive)
        self.archive = archive
        self.path = path
        self.filename = filename

    def get_contents(self) -> Iterator[WheelContentElement]:
        """See :meth:`installer.sources.WheelSource.get_contents`; streams are :class:`_Member`."""
        records = {row[0]: row for row in parse_record_file(self.read_dist_info("RECORD").splitlines())}
        for info in self.archive.infolist():
            if info.is_dir() or "__pycache__" in info.filename.split("/"):
                continue
            row = records.get(info.filename, (info.filename, "", ""))
            mode = info.external_attr >> 16
            executable = bool(stat.S_ISREG(mode) and mode & 0o111)
            yield row, cast(BinaryIO, _Member(info, row[1], row[2])), executable

    def content(self, info: zipfile.ZipInfo) -> Callable[[], Iterator[bytes]]:
        """A function that yields the member's bytes; CRC and size are checked on the way."""

        def chunks() -> Iterator[bytes]:
            try:
                if info.file_size <= _CHUNK:
                    yield self.archive.read(info)
                    return
                with self.archive.open(info) as stream:
                    while chunk := stream.read(_CHUNK):
                        yield chunk
            except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
                raise _damaged(self.filename, f"{info.filename}: {error}") from error
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                raise _damaged(self.filename, _NOWHERE) from error

        return chunks


def _damaged(filename: str, reason: str) -> RepoError:
    return RepoError(
        f"the wheel {filename} is not valid: {reason}",
        code="bad-wheel",
        remedy="report it to the package's maintainers, and lock another version of it",
    )


def _record_hash(data: bytes) -> Hash:
    return Hash("sha256", base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode())


class _Destination(WheelDestination):
    """Collects what :func:`installer.install` writes."""

    def __init__(self, wheel: WheelArchive, prefix: Prefix, compiler: Compiler | None, spool: Path) -> None:
        self._wheel = wheel
        self._prefix = prefix
        self._compiler = compiler
        self._spool = spool
        self._sources: list[tuple[str, str]] = []
        self.entries: list[tar.Entry] = []

    def _place(self, scheme: str, path: str) -> str:
        return f"{self._prefix.place(scheme, self._wheel.distribution)}/{path}"

    def _record_path(self, place: str) -> str:
        """``place`` as RECORD has it: relative to site-packages."""
        site = self._prefix.site_packages
        if place.startswith(site + "/"):
            return place[len(site) + 1 :]
        return "../../../" + place[len(self._prefix.path) + 1 :]

    def _keep(self, place: str, data: bytes, *, executable: bool) -> RecordEntry:
        self.entries.append(tar.file(place, data, executable=executable))
        return RecordEntry(self._record_path(place), _record_hash(data), len(data))

    def write_script(
        self, name: str, module: str, attr: str, section: Literal["console", "gui"]
    ) -> RecordEntry:
        """An executable for an entry point."""
        try:
            script = entry_point_script(self._prefix.path, name, module, attr)
        except ValueError as error:
            raise _damaged(self._wheel.filename, str(error)) from error
        return self._keep(self._place("scripts", name), script, executable=True)

    def write_file(
        self, scheme: Scheme, path: str | os.PathLike[str], stream: BinaryIO, is_executable: bool
    ) -> RecordEntry:
        """One file of the wheel, or (INSTALLER) one that comes with installing."""
        path = os.fspath(path)
        place = self._place(scheme, path)
        if not isinstance(stream, _Member):
            return self._keep(place, stream.read(), executable=False)
        content = self._wheel.content(stream.info)
        if scheme == "scripts":
            data = b"".join(content())
            first, newline, rest = data.partition(b"\n")
            if first.startswith((b"#!python", b"#!pythonw")):
                arguments = first.partition(b" ")[2]
                shebang = b"#!/%s/bin/python3" % self._prefix.path.encode()
                data = (shebang + (b" " + arguments if arguments else b"")).rstrip(b"\r") + newline + rest
            return self._keep(place, data, executable=True)
        if place.startswith(self._prefix.site_packages + "/") and wants_bytecode(path):
            self._sources.append((stream.info.filename, place))
        self.entries.append(tar.file(place, content, size=stream.info.file_size, executable=is_executable))
        if stream.digest and stream.recorded_size:
            return RecordEntry.from_elements(self._record_path(place), stream.digest, stream.recorded_size)
        data = b"".join(content())
        return RecordEntry(self._record_path(place), _record_hash(data), len(data))

    def _bytecode(self) -> Sequence[Bytecode | None]:
        """The bytecode of all sources; none when there is nothing to make it with."""
        if self._compiler is None:
            return ()
        members = [(member, "/" + place) for member, place in sorted(self._sources)]
        return self._compiler.compile_zip(self._wheel.path, members, self._spool)

    def finalize_installation(self, scheme: Scheme, record_file_path: str, records: object) -> None:
        """The bytecode, and RECORD with everything that was written."""
        rows = [record.to_row() for _, record in cast("Sequence[tuple[str, RecordEntry]]", records)]
        for code in self._bytecode():
            if code is not None:
                place = cache_path(code.path[1:], self._prefix.python)
                self.entries.append(tar.file(place, code.read, size=code.size))
                rows.append((self._record_path(place), "", ""))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(sorted(rows))
        self.entries.append(tar.file(self._place(scheme, record_file_path), text.getvalue().encode()))


def wheel_entries(
    path: Path, filename: str, prefix: Prefix, compiler: Compiler | None, spool: Path, stack: ExitStack
) -> list[tar.Entry]:
    """What installing one wheel into ``prefix`` adds to the file system.

    Parameters:
        path: the wheel on disk; ``filename`` is its real name.
        compiler: makes the bytecode; None when there is no interpreter of the prefix's Python.
        spool: a file for the bytecode; it and ``stack``, which closes the wheel, must live until the
            entries have been read.

    Returns:
        Entries in no particular order, without directories. RECORD lists them all.

    Raises:
        RepoError: the wheel is damaged or unsafe.
    """
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
        wheel = WheelArchive(archive, path, filename)
        destination = _Destination(wheel, prefix, compiler, spool)
        installer.install(wheel, destination, {"INSTALLER": b"envbuild\n"})
    except _INVALID as error:
        raise _damaged(filename, str(error) or type(error).__name__) from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise _damaged(filename, _NOWHERE) from error
    for entry in destination.entries:
        parts = entry.path.split(b"/")
        if b".." in parts or b"." in parts or b"" in parts or b"\0" in entry.path:
            raise RepoError(
                f"the wheel {filename} wants to write outside of the environment: {entry.path!r}",
                code="unsafe-wheel",
                remedy="do not use this package; report it to the index",
            )
    return destination.entries
