"""A conda package as layer entries: what an installer would link into a prefix, with nothing executed.

The rules are those of conda's and rattler's installers, for every platform alike: paths, prefixes, Python
packages without architecture, entry points. Bytecode is made independent of file times
(docs/adr/0006-bytecode.md), and link scripts are not run (docs/adr/0014-conda-layers.md).
"""

from __future__ import annotations

import hashlib
import importlib.util
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envbuild.errors import RepoError
from envbuild.lock.model import CondaPackage
from envbuild.pack import conda_meta, tar
from envbuild.pack.bytecode import Compiler, cache_path, wants_bytecode
from envbuild.pack.conda_archive import CondaArchive, Member, damaged, open_conda
from envbuild.pack.conda_info import CondaInfo, PathEntry, read_info
from envbuild.pack.conda_prefix import replace_prefix
from envbuild.pack.entry_point import entry_point_script
from envbuild.pack.wheel import Prefix

__all__ = ["HARMLESS_LINK_SCRIPTS", "CondaFiles", "conda_entries"]

# Packages whose link scripts do nothing that an image could need: they print a licence or a hint, or make
# links to what a machine has outside of the environment.
HARMLESS_LINK_SCRIPTS = frozenset({"cudatoolkit", "cudnn", "libusb", "ocl-icd-system", "openmpi"})

# A file whose prefix is replaced is held in memory.
_REWRITE_LIMIT = 2_000_000_000
_DESKTOP_MENUS = "Menu/"
_PYC_HEADER = 16
# Flags of bytecode (PEP 552): to be compared with its source's time and size, or not with its source at all;
# then what follows is not read.
_TIMED = bytes(4)
_UNCHECKED = (1).to_bytes(4, "little") + bytes(8)
_NO_TIME = -1


@dataclass(frozen=True, slots=True)
class CondaFiles:
    """What installing a package adds: ``entries`` in no particular order, without directories that only hold
    files, and the ``link_script`` (its path in the image) that an installer would have run, if there is one.
    """

    entries: list[tar.Entry]
    link_script: str | None


def conda_entries(
    package: CondaPackage, path: Path, prefix: Prefix, compiler: Compiler | None, scratch: Path
) -> CondaFiles:
    """What installing ``package`` into ``prefix`` adds to the file system.

    Parameters:
        path: the package on disk.
        prefix: the environment and its Python; ``python`` is "" when it has none.
        compiler: a Python that makes bytecode for the environment's, if there is one.
        scratch: an empty directory, which must live until the entries have been read.

    Raises:
        RepoError: the package is damaged, unsafe or not the one that was locked.
    """
    filename = package.artifact.filename
    archive = open_conda(path, filename, scratch)
    info = read_info(archive)
    stated = tuple(info.index.get(key) for key in ("name", "version", "build"))
    if stated != (package.name, package.version, package.build):
        raise damaged(filename, f"it says that it is {'-'.join(map(str, stated))}")
    if info.python and not prefix.python:
        raise RepoError(
            f"the conda package {filename} is for Python, and the environment has none",
            code="no-python",
            remedy="add `python` to the packages of environment.yml",
        )
    linking = _Linking(package, archive, info, prefix, scratch)
    linking.link()
    linking.compile(compiler)
    name, content = conda_meta.record(package, info.index, linking.records())
    linking.entries[f"{prefix.path}/conda-meta/{name}"] = tar.file(
        f"{prefix.path}/conda-meta/{name}", content
    )
    script = f"{prefix.path}/bin/.{package.name}-post-link.sh"
    return CondaFiles(list(linking.entries.values()), f"/{script}" if script in linking.entries else None)


@dataclass(slots=True)
class _Linking:
    """One package on its way into a prefix.

    ``entries`` are by path in the image, ``rows`` what ``conda-meta`` says of them. ``sources`` are the
    Python sources (those that had the prefix replaced have no time), ``shipped`` the package's .pyc files.
    """

    package: CondaPackage
    archive: CondaArchive
    info: CondaInfo
    prefix: Prefix
    scratch: Path
    entries: dict[str, tar.Entry] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    sources: dict[str, Member] = field(default_factory=dict)
    shipped: dict[str, PathEntry] = field(default_factory=dict)

    def link(self) -> None:
        """Everything the package has, and its entry points."""
        for entry in self.info.paths:
            place = self._place(entry.path)
            if entry.path.startswith(_DESKTOP_MENUS):
                continue
            if entry.path.endswith(".pyc") and "__pycache__" in entry.path.split("/"):
                self.shipped[place] = entry
            else:
                self._link(entry, place)
        for line in self.info.entry_points:
            name, _, call = (part.strip() for part in line.partition("="))
            module, _, attribute = (part.strip() for part in call.partition(":"))
            try:
                script = entry_point_script(self.prefix.path, name, module, attribute)
            except ValueError as error:
                raise self._damaged(str(error)) from error
            place = f"{self.prefix.path}/bin/{name}"
            row = {"path_type": "unix_python_entry_point", "sha256_in_prefix": _sha256(script)}
            self._add(place, tar.file(place, script, executable=True), row)

    def compile(self, compiler: Compiler | None) -> None:
        """Bytecode: the package's own where Python would take it, else made by ``compiler``."""
        for place, entry in sorted(self.shipped.items()):
            self._link_bytecode(place, entry)
        if compiler is None:
            return
        missing = {
            place: source
            for place, source in sorted(self.sources.items())
            if place.startswith(f"{self._libraries}/")
            and wants_bytecode(place.removeprefix(f"{self._libraries}/"))
            and cache_path(place, self.prefix.python) not in self.entries
        }
        archive = self.scratch / "sources.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as bundle:
            for number, source in enumerate(missing.values()):
                bundle.writestr(str(number), source.read())
        members = [(str(number), f"/{place}") for number, place in enumerate(missing)]
        for code in compiler.compile_zip(archive, members, self.scratch / "bytecode"):
            if code is not None:
                place = cache_path(code.path[1:], self.prefix.python)
                self._add(place, tar.file(place, code.read, size=code.size), {"path_type": "pyc_file"})

    def records(self) -> list[dict[str, Any]]:
        """What was installed, for ``conda-meta``."""
        return [row for _, row in sorted(self.rows.items())]

    def _damaged(self, reason: str) -> RepoError:
        return damaged(self.archive.filename, reason)

    @property
    def _libraries(self) -> str:
        """Where Python's own modules are, and below it those of packages."""
        return self.prefix.site_packages.rpartition("/")[0]

    def _add(self, place: str, entry: tar.Entry, row: dict[str, Any]) -> None:
        path = place.removeprefix(f"{self.prefix.path}/")
        if entry.kind == "file":
            row["size_in_bytes"] = entry.size
        self.entries[place] = entry
        self.rows[path] = {"_path": path, **row}

    def _place(self, path: str) -> str:
        """Where a path of the package is in the image."""
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise self._damaged(f"it has the unsafe path {path!r}") from error
        if "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
            raise self._damaged(f"it has the unsafe path {path!r}")
        if self.info.python and path.startswith("site-packages/"):
            return f"{self.prefix.site_packages}/{path.removeprefix('site-packages/')}"
        if self.info.python and path.startswith("python-scripts/"):
            return f"{self.prefix.path}/bin/{path.removeprefix('python-scripts/')}"
        return f"{self.prefix.path}/{path}"

    def _member(self, entry: PathEntry) -> Member:
        member = self.archive.members.get(entry.path)
        if member is None:
            raise self._damaged(f"{entry.path!r} is listed and missing")
        if member.kind == "file" and entry.size not in (None, member.size):
            raise self._damaged(f"{entry.path!r} has {member.size} bytes, not {entry.size}")
        return member

    def _link(self, entry: PathEntry, place: str) -> None:
        member = self._member(entry)
        if member.kind == "dir":
            self._add(place, tar.directory(place), {"path_type": "directory"})
            return
        if member.kind == "symlink":
            # As it is: in an image it can lead to nothing but the image's own files.
            self._add(place, tar.symlink(place, member.target), {"path_type": "softlink"})
            return
        row: dict[str, Any] = {"path_type": "hardlink"}
        content = self._verified(entry, member)
        if entry.placeholder:
            row |= {"file_mode": entry.mode, "prefix_placeholder": entry.placeholder}
            member, row["sha256_in_prefix"] = self._rewritten(entry, member)
            content = member.chunks
        if entry.sha256:
            row["sha256"] = entry.sha256
            row.setdefault("sha256_in_prefix", entry.sha256)
        self._add(place, tar.file(place, content, size=member.size, executable=member.executable), row)
        if place.endswith(".py"):
            self.sources[place] = member

    def _verified(self, entry: PathEntry, member: Member) -> Callable[[], Iterator[bytes]]:
        """A function that yields the file's bytes; it raises at their end if others were promised."""

        def chunks() -> Iterator[bytes]:
            digest = hashlib.sha256()
            for chunk in member.chunks():
                digest.update(chunk)
                yield chunk
            if entry.sha256 not in (None, digest.hexdigest()):
                raise self._damaged(f"{entry.path!r} does not have the content that it should have")

        return chunks

    def _rewritten(self, entry: PathEntry, member: Member) -> tuple[Member, str]:
        """The file with the image's prefix in it, and its sha256."""
        if member.size > _REWRITE_LIMIT:
            raise self._damaged(f"{entry.path!r} is too large to have its prefix replaced")
        data = b"".join(self._verified(entry, member)())
        try:
            data = replace_prefix(
                data, entry.placeholder.encode(), f"/{self.prefix.path}".encode(), entry.mode
            )
        except ValueError as error:
            raise self._damaged(f"{entry.path!r}: {error}") from error
        kept = self.scratch / "rewritten"
        with kept.open("ab") as stream:
            offset = stream.tell()
            stream.write(data)
        return Member("file", kept, offset, len(data), _NO_TIME, member.executable), _sha256(data)

    def _link_bytecode(self, place: str, entry: PathEntry) -> None:
        """A .pyc the package ships. It says when its source was changed, and in an image all files have one
        time: if Python would take it in the package, it becomes one that Python takes as it is (PEP 552).
        """
        source = self.sources.get(_source_of(place))
        if source is None:  # nothing that Python would compare it with
            self._link(entry, place)
            return
        member = self._member(entry)
        if member.kind != "file" or member.size > _REWRITE_LIMIT:
            raise self._damaged(f"{entry.path!r} is no bytecode")
        data = b"".join(self._verified(entry, member)())
        flags, time, size = (data[start : start + 4] for start in (4, 8, 12))
        if flags == _TIMED:
            if (time, size) != (_four_bytes(source.mtime), _four_bytes(source.size)):
                return
            data = data[:4] + _UNCHECKED + data[_PYC_HEADER:]
        row = {"path_type": "hardlink", "sha256_in_prefix": _sha256(data)}
        self._add(place, tar.file(place, data), row)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _four_bytes(number: int) -> bytes:
    """As in the header of a .pyc file."""
    return (number & 0xFFFFFFFF).to_bytes(4, "little")


def _source_of(place: str) -> str:
    """The source that a file in ``__pycache__`` belongs to; "" when its name is not one of bytecode."""
    try:
        return importlib.util.source_from_cache(place)
    except ValueError:
        return ""
