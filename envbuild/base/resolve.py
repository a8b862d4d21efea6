"""Which Debian packages a base consists of: the closure of its roots over their dependencies.

Deliberately simpler than apt's solver, because a base has one right answer: of each package the newest
version of all suites is considered, never an older one, and what that leads to is taken or refused.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from envbuild.base.debian import Index, Source, paragraphs
from envbuild.base.version import Version, satisfies
from envbuild.errors import RemoteError
from envbuild.lock.model import Artifact, Deb

__all__ = ["Catalog", "Package", "closure", "parse_package", "relations"]

_FIELD = re.compile(
    rb"^(Package|Version|Architecture|Depends|Pre-Depends|Provides|Filename|Size|SHA256): *(.*)$",
    re.MULTILINE,
)
# "name:any (>= 1.2) [arch] <profile>"; binary packages have neither of the last two
_RELATION = re.compile(r"([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)?(?:\s*\(\s*(<<|<=|=|>=|>>)\s*([^\s)]+)\s*\))?")
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*")
_SAFE_PATH = re.compile(r"pool(?:/[A-Za-z0-9][A-Za-z0-9+._~%:-]*)+\.deb")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Relation:
    """One alternative of a dependency: ``name``, and a version it is compared with (both may be empty)."""

    name: str
    operator: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.operator} {self.version})" if self.operator else self.name


@dataclass(frozen=True, slots=True)
class Package:
    """One paragraph of a packages index. ``depends`` holds alternatives; one of each has to be there."""

    deb: Deb
    depends: tuple[tuple[Relation, ...], ...]
    provides: tuple[Relation, ...]

    def is_(self, relation: Relation) -> bool:
        """Whether this package, by its own name, is what ``relation`` asks for."""
        return self.deb.name == relation.name and (
            not relation.operator or satisfies(self.deb.version, relation.operator, relation.version)
        )

    def gives(self, relation: Relation) -> bool:
        """Whether this package is or provides what ``relation`` asks for (Debian Policy 7.5)."""
        return self.is_(relation) or any(
            given.name == relation.name
            and (
                not relation.operator
                # An unversioned Provides satisfies no versioned dependency.
                or (bool(given.version) and satisfies(given.version, relation.operator, relation.version))
            )
            for given in self.provides
        )


def relations(field: str) -> tuple[tuple[Relation, ...], ...]:
    """A dependency field's groups of alternatives.

    >>> [[str(one) for one in group] for group in relations("libc6 (>= 2.34), debconf | debconf-2.0")]
    [['libc6 (>= 2.34)'], ['debconf', 'debconf-2.0']]
    """
    groups = []
    for group in filter(None, map(str.strip, field.split(","))):
        alternatives = []
        for text in group.split("|"):
            match = _RELATION.match(text.strip())
            if match is None:
                raise RemoteError(
                    f"unreadable dependency `{text.strip()}` in Debian's index", code="mirror-bad-index"
                )
            alternatives.append(Relation(match[1], match[2] or "", match[3] or ""))
        groups.append(tuple(alternatives))
    return tuple(groups)


def parse_package(paragraph: bytes, source: Source) -> Package:
    """Read a paragraph of a packages index; raises :class:`RemoteError` when it is incomplete or unsafe."""
    fields = {key.decode(): value.decode().strip() for key, value in _FIELD.findall(paragraph)}
    try:
        path = fields["Filename"]
        deb = Deb(
            name=fields["Package"],
            version=fields["Version"],
            arch=fields["Architecture"],
            artifact=Artifact(path.rpartition("/")[2], fields["SHA256"], int(fields["Size"]), source, path),
        )
    except (KeyError, ValueError) as error:
        raise RemoteError(
            f"incomplete paragraph in Debian's index ({error})", code="mirror-bad-index"
        ) from error
    # These become file names and addresses.
    if not (
        _NAME.fullmatch(deb.name) and _SAFE_PATH.fullmatch(path) and _SHA256.fullmatch(deb.artifact.sha256)
    ):
        raise RemoteError(f"unsafe name or path in Debian's index: {path!r}", code="mirror-bad-index")
    depends = ", ".join(filter(None, (fields.get("Pre-Depends"), fields.get("Depends"))))
    provides = tuple(group[0] for group in relations(fields.get("Provides", "")))
    return Package(deb, relations(depends), provides)


class Catalog:
    """The newest version of every package of some indexes. Paragraphs are only parsed when asked for."""

    def __init__(self, indexes: Iterable[Index]) -> None:
        self._paragraphs: dict[str, list[tuple[bytes, Source]]] = {}
        self._providers: dict[str, set[str]] = {}
        self._newest: dict[str, Package | None] = {}
        self._essential: set[str] = set()
        for index in indexes:
            for paragraph in paragraphs(index):
                self._add(paragraph, index.source)

    def _add(self, paragraph: bytes, source: Source) -> None:
        if not paragraph.startswith(b"Package: "):
            raise RemoteError("unreadable paragraph in Debian's index", code="mirror-bad-index")
        name = paragraph[9 : paragraph.index(b"\n")].decode()
        self._paragraphs.setdefault(name, []).append((paragraph, source))
        if b"\nEssential: yes" in paragraph:
            self._essential.add(name)
        start = paragraph.find(b"\nProvides: ")
        if start >= 0:
            field = paragraph[start + 11 :].partition(b"\n")[0].decode()
            for group in relations(field):
                self._providers.setdefault(group[0].name, set()).add(name)

    @property
    def essential(self) -> frozenset[str]:
        """The packages that others may use without depending on them (Debian policy 3.8)."""
        return frozenset(self._essential)

    def names(self) -> list[str]:
        """The names of all packages, sorted."""
        return sorted(self._paragraphs)

    def providers(self, name: str) -> list[str]:
        """The packages that provide the virtual package ``name``, sorted."""
        return sorted(self._providers.get(name, ()))

    def listed(self, name: str) -> list[tuple[Package, bytes]]:
        """Every version of the package ``name``, with its paragraph."""
        return [
            (parse_package(paragraph, source), paragraph)
            for paragraph, source in self._paragraphs.get(name, ())
        ]

    def newest(self, name: str) -> Package | None:
        """The newest version of the package ``name``; of equal ones the first index's."""
        if name not in self._newest:
            packages = [package for package, _ in self.listed(name)]
            self._newest[name] = max(packages, key=lambda one: Version(one.deb.version), default=None)
        return self._newest[name]

    def find(self, relation: Relation) -> Package | None:
        """The package of that name, else the first by name of those that provide it."""
        names = [relation.name, *sorted(self._providers.get(relation.name, ()))]
        for name in names:
            package = self.newest(name)
            if package is not None and package.gives(relation):
                return package
        return None


def closure(
    catalog: Catalog, roots: Iterable[str], *, excluded: Mapping[str, str], what: str
) -> tuple[Deb, ...]:
    """``roots`` and everything they need, sorted by name.

    Of alternatives, one already chosen wins, then the first that exists. A dependency that names an excluded
    package among its alternatives counts as met: the base does without it, for the reason it gives.

    Parameters:
        excluded: reasons by package name.
        what: the base or tool this is for, for messages.

    Raises:
        RemoteError: a root does not exist, or a dependency cannot be met; names both ends of it.
    """
    chosen: dict[str, Package] = {}
    for root in roots:
        package = catalog.newest(root)
        if package is None:
            raise RemoteError(
                f"Debian has no package `{root}`, which {what} needs", code="debian-unsatisfied"
            )
        chosen[root] = package
    todo = deque(chosen.values())
    while todo:
        package = todo.popleft()
        for alternatives in package.depends:
            if any(one.name in excluded for one in alternatives):
                continue
            if any(other.gives(one) for one in alternatives for other in chosen.values()):
                continue
            found = next(filter(None, map(catalog.find, alternatives)), None)
            if found is None or found.deb.name in chosen:
                wanted = " | ".join(map(str, alternatives))
                raise RemoteError(
                    f"`{package.deb.name}` {package.deb.version} of {what} needs `{wanted}`,"
                    " which Debian does not have",
                    code="debian-unsatisfied",
                    remedy="try again in some minutes, the mirror may be changing",
                )
            if found.deb.name in excluded:
                continue
            chosen[found.deb.name] = found
            todo.append(found)
    return tuple(chosen[name].deb for name in sorted(chosen))
