"""Which packages a layer holds and how large they are, from the layer itself.

Package managers leave lists of what they installed. So this needs neither a lock nor the artifacts, works for
images that others made, and gives the same wherever the layer is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from packaging.utils import canonicalize_name

from envbuild.contents.licences import DEBIAN
from envbuild.contents.metadata import (
    Metadata,
    conda_metadata,
    debian_files,
    debian_metadata,
    wheel_files,
    wheel_metadata,
)
from envbuild.image.comparison import Content, layer_members

__all__ = ["Found", "LayerContents", "PackageKind", "read_contents"]

PackageKind = Literal["wheel", "conda", "deb"]

_MOST_FILES: Final = 5_000_000
_MOST_NOTES: Final = 512 << 20  # bytes of all lists of one layer
_LARGEST_NOTE: Final = 64 << 20
_LARGEST_METADATA: Final = 1 << 20  # of METADATA, which is mostly description
_DPKG: Final = "var/lib/dpkg/"
_DIST_INFO = re.compile(r"((?:.*/)?)([^/]+\.dist-info)/(METADATA|RECORD)")
_CONDA_META = re.compile(r"((?:.*/)?)conda-meta/[^/]+\.json")
_DEBIAN_LIST = re.compile(_DPKG + r"info/([^/]+)\.list")
_BYTECODE = re.compile(r"((?:.*/)?)__pycache__/([^/.]+)\.[^/]+\.pyc")
# Debian packages may name a file by the place it had before /usr was merged.
_MERGED: Final = ("bin/", "lib/", "lib32/", "lib64/", "libx32/", "sbin/")


@dataclass(frozen=True, slots=True)
class Found:
    """A package in a layer; ``size`` is what its files have together, in bytes.

    ``place`` is the directory it is installed below, without leading ``/`` ("" for Debian packages).
    """

    kind: PackageKind
    metadata: Metadata
    size: int
    place: str = ""


@dataclass(frozen=True, slots=True)
class LayerContents:
    """A layer's packages, by kind and name, and the bytes of all of its files."""

    packages: tuple[Found, ...]
    size: int


def read_contents(layer: Content) -> LayerContents:
    """What is in ``layer``.

    A file that several packages list is the first one's, Debian's before conda's before wheels'. A wheel's
    description in a package of another kind is that package's.

    Raises:
        ValueError: the layer is damaged or no tar file, or has more in it than any sane one.
    """
    sizes: dict[str, int] = {}
    notes: dict[str, bytes] = {}
    budget = _MOST_NOTES
    for member, content in layer_members(layer):
        name = member.name.removesuffix("/").removeprefix("./").removeprefix("/")
        if member.isdir():
            continue
        sizes[name] = member.size if member.isreg() else 0
        if len(sizes) > _MOST_FILES:
            raise ValueError("it has too many files")
        limit = _note_limit(name)
        if content is not None and limit:
            notes[name] = content.read(min(limit, budget))
            budget -= len(notes[name])
    return LayerContents(tuple(_Attribution(sizes, notes).packages()), sum(sizes.values()))


def _note_limit(name: str) -> int:
    """How much of a file is to be read; nothing of most."""
    if match := _DIST_INFO.fullmatch(name):
        return _LARGEST_METADATA if match[3] == "METADATA" else _LARGEST_NOTE
    wanted = name == f"{_DPKG}status" or _DEBIAN_LIST.fullmatch(name) or _CONDA_META.fullmatch(name)
    return _LARGEST_NOTE if wanted else 0


@dataclass(slots=True)
class _Attribution:
    """Gives every file to one package."""

    sizes: Mapping[str, int]
    notes: Mapping[str, bytes]
    owners: dict[str, int] = field(default_factory=dict)
    found: list[Found] = field(default_factory=list)

    def packages(self) -> list[Found]:
        """All packages, by kind and name."""
        self._debian()
        self._conda()
        self._wheels()
        self._bytecode()
        return sorted(self.found, key=lambda one: (one.kind, one.metadata.name.lower(), one.place))

    def _bytecode(self) -> None:
        """Bytecode that nobody lists is of the package that has its source."""
        for path, size in self.sizes.items():
            match = _BYTECODE.fullmatch(path)
            if match is not None and path not in self.owners:
                number = self.owners.get(f"{match[1]}{match[2]}.py")
                if number is not None:
                    self.found[number] = replace(self.found[number], size=self.found[number].size + size)

    def _own(self, kind: PackageKind, metadata: Metadata, files: Iterable[str], place: str = "") -> None:
        number = len(self.found)
        size = 0
        for file in files:
            if file in self.sizes and file not in self.owners:
                self.owners[file] = number
                size += self.sizes[file]
        self.found.append(Found(kind, metadata, size, place))

    def _debian(self) -> None:
        known = debian_metadata(self.notes.get(f"{_DPKG}status", b""))
        for name in sorted(self.notes):
            match = _DEBIAN_LIST.fullmatch(name)
            metadata = known.get(match[1]) if match else None
            if metadata is None:
                continue
            files = [name, *map(self._merged, debian_files(self.notes[name]))]
            folder = f"usr/share/doc/{metadata.name}"
            # Packages from one source may share it by a link to the directory of one of them.
            if f"{folder}/copyright" in self.sizes or folder in self.sizes:
                metadata = replace(metadata, licence=DEBIAN)
            # Who upgrades a package rewrites its list; a layer that has the list has its files.
            if any(file in self.sizes for file in files[1:]):
                self._own("deb", metadata, files)

    def _merged(self, path: str) -> str:
        return f"usr/{path}" if path.startswith(_MERGED) and path not in self.sizes else path

    def _conda(self) -> None:
        for name in sorted(self.notes):
            match = _CONDA_META.fullmatch(name)
            read = conda_metadata(self.notes[name]) if match else None
            if match and read is not None:
                metadata, files = read
                paths = [name, *(f"{match[1]}{file}" for file in files)]
                self._own("conda", metadata, paths, match[1].rstrip("/"))

    def _wheels(self) -> None:
        for name in sorted(self.notes):
            match = _DIST_INFO.fullmatch(name)
            if match is None or match[3] != "METADATA":
                continue
            metadata = wheel_metadata(self.notes[name])
            if metadata is None:
                continue
            if name in self.owners:
                self._complete(self.owners[name], metadata)
                continue
            directory = match[1].rstrip("/")
            record = self.notes.get(f"{match[1]}{match[2]}/RECORD", b"")
            self._own("wheel", metadata, [name, *wheel_files(record, directory)], directory)

    def _complete(self, number: int, said: Metadata) -> None:
        """Add what a wheel's description says to the package that brought it, if that is the same project."""
        of = self.found[number]
        theirs = of.metadata
        if canonicalize_name(said.name) not in _names(theirs.name):
            return
        self.found[number] = replace(
            of,
            metadata=replace(
                theirs,
                summary=theirs.summary or said.summary,
                licence=theirs.licence or said.licence,
                home_page=theirs.home_page or said.home_page,
            ),
        )


def _names(name: str) -> Iterator[str]:
    """What the project of a conda or Debian package is called on an index."""
    canonical = canonicalize_name(name)
    yield canonical
    yield canonical.removeprefix("python3-")
    yield canonical.removesuffix("-base")
    yield canonical.removesuffix("-core")
