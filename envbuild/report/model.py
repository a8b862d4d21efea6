"""What a report says, as values: the page and the JSON document show the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from envbuild.contents.licences import Licence
from envbuild.inspection.inside import KernelSpec
from envbuild.report.installed import PackageKind

__all__ = [
    "PARTS",
    "Command",
    "Fact",
    "NotebookEntry",
    "Package",
    "PackageRow",
    "Part",
    "PlatformReport",
    "Report",
    "ReportLayer",
    "Run",
]

Part = Literal["environment", "apt", "server", "system", "other"]

PARTS: dict[Part, str] = {
    "environment": "Environment",
    "apt": "Debian packages of apt.txt",
    "server": "Jupyter server",
    "system": "Operating system and Python",
    "other": "Everything else",
}
"""The parts of an image and what people call them, in the order they matter to readers."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the summary; ``code`` tells that ``value`` is for machines (a digest)."""

    name: str
    value: str
    code: bool = False


@dataclass(frozen=True, slots=True)
class Package:
    """A package in one layer; ``size`` is in bytes, None when it is not known.

    ``direct`` tells that the repository asks for it.
    """

    name: str
    version: str
    kind: PackageKind
    part: Part
    direct: bool = False
    size: int | None = None
    licence: Licence | None = None
    summary: str = ""
    home_page: str = ""


@dataclass(frozen=True, slots=True)
class ReportLayer:
    """A layer: ``stored`` are the bytes to download, ``size`` those of its files (None: not known).

    ``packages`` are by size, the largest first.
    """

    title: str
    part: Part
    digest: str
    diff_id: str
    stored: int
    size: int | None
    packages: tuple[Package, ...]

    @property
    def rest(self) -> int:
        """Bytes of files that are of no package."""
        return max(0, (self.size or 0) - sum(package.size or 0 for package in self.packages))


@dataclass(frozen=True, slots=True)
class PlatformReport:
    """The image for one platform; layers are bottom to top."""

    platform: str
    image_id: str
    digest: str
    python: str | None
    layers: tuple[ReportLayer, ...]
    kernels: tuple[KernelSpec, ...]

    @property
    def stored(self) -> int:
        """Bytes to download."""
        return sum(layer.stored for layer in self.layers)

    @property
    def size(self) -> int:
        """Bytes of all files, as far as they are known."""
        return sum(layer.size or 0 for layer in self.layers)

    def packages(self) -> Iterator[Package]:
        """Every package once: of several with the same name and part, that of the uppermost layer."""
        found = {
            (package.part, package.kind, package.name.lower()): package
            for layer in self.layers
            for package in layer.packages
        }
        yield from found.values()


@dataclass(frozen=True, slots=True)
class PackageRow:
    """A package on all platforms that have it in this version; ``sizes`` are by platform."""

    package: Package
    sizes: dict[str, int | None]

    @property
    def largest(self) -> int | None:
        """The largest of the sizes that are known."""
        return max((size for size in self.sizes.values() if size is not None), default=None)


@dataclass(frozen=True, slots=True)
class Run:
    """The last run of a notebook, as its executed copy ``path`` tells.

    ``failed`` is the 1-based position of the first cell that ended in an error nobody expected, None when
    none did. ``lock`` says whether it ran with this report's lock, None when there is nothing to compare.
    """

    path: str
    started: datetime | None
    seconds: float | None
    platform: str
    image_id: str
    environment: str | None
    lock: bool | None
    commit: str | None
    dirty: bool | None
    parameters: dict[str, Any]
    inputs: dict[str, str]
    failed: int | None


@dataclass(frozen=True, slots=True)
class NotebookEntry:
    """A notebook, and its last run if there is one that left a trace."""

    path: str
    kernel: str | None
    language: str | None
    run: Run | None


@dataclass(frozen=True, slots=True)
class Command:
    """A command line that makes use of what the report is about, and what it does."""

    line: str
    does: str


@dataclass(frozen=True, slots=True)
class Report:
    """All of it.

    ``unknown`` are sentences about what could not be found out. ``needs`` says what one has to have for the
    ``commands``. ``notebooks`` is None when there is no
    repository to look for them. ``made`` is when the report was made, None unless somebody asked for it.
    """

    name: str
    title: str
    facts: tuple[Fact, ...]
    platforms: tuple[PlatformReport, ...]
    notebooks: tuple[NotebookEntry, ...] | None
    commands: tuple[Command, ...]
    needs: str = ""
    unknown: tuple[str, ...] = ()
    made: datetime | None = None

    def rows(self, part: Part) -> list[PackageRow]:
        """The packages of ``part`` over all platforms; first what was asked for, then by name."""
        found: dict[tuple[str, str, str], PackageRow] = {}
        for platform in self.platforms:
            for package in platform.packages():
                if package.part == part:
                    key = (package.kind, package.name.lower(), package.version)
                    row = found.setdefault(key, PackageRow(package, {}))
                    row.sizes[platform.platform] = package.size
        return sorted(
            found.values(),
            key=lambda row: (not row.package.direct, row.package.name.lower(), row.package.version),
        )

    def licences(self) -> list[tuple[Licence | None, list[str]]]:
        """Every licence with the names of its packages; the most frequent first, None last."""
        found: dict[Licence | None, set[str]] = {}
        for part in PARTS:
            for row in self.rows(part):
                found.setdefault(row.package.licence, set()).add(row.package.name)
        named = [(licence, sorted(names, key=str.lower)) for licence, names in found.items()]
        return sorted(
            named, key=lambda item: (item[0] is None, -len(item[1]), item[0].text if item[0] else "")
        )
