"""What dpkg says is installed in an image: its status file (dpkg(1), deb822(5)), read strictly.

The file is a stranger's, and apt, which runs on this machine, will solve with what it says. So nothing is
passed on as it is: fields are taken apart, and what is written for apt is written anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

__all__ = ["Installed", "read_status", "status_text"]

_MOST_PACKAGES: Final = 20_000
_LONGEST_FIELD: Final = 20_000
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9+.-]{0,120}")
_VERSION: Final = re.compile(r"[0-9][A-Za-z0-9.+~:-]{0,120}")
_ARCHITECTURE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_RELATION: Final = re.compile(
    r"[a-z0-9][a-z0-9+.-]*(?::[a-z0-9-]+)?(?: \((?:<<|<=|=|>=|>>) [0-9][A-Za-z0-9.+~:-]*\))?"
)
# Fields of relations between packages (Debian policy 7), which decide what can be together.
_RELATIONS: Final = ("Breaks", "Conflicts", "Depends", "Pre-Depends", "Provides", "Replaces")
_FLAGS: Final = {"Essential": ("yes",), "Multi-Arch": ("same", "foreign", "allowed"), "Protected": ("yes",)}


@dataclass(frozen=True, slots=True, order=True)
class Installed:
    """An installed package. ``fields`` are those that decide what can be installed beside it."""

    name: str
    version: str
    architecture: str
    fields: tuple[tuple[str, str], ...] = ()


def read_status(data: bytes) -> tuple[Installed, ...]:
    """The packages that are installed, sorted; what is not readable as one is left out."""
    found = set()
    for paragraph in data.decode("utf-8", "replace").split("\n\n")[:_MOST_PACKAGES]:
        package = _package(_fields(paragraph))
        if package is not None:
            found.add(package)
    return tuple(sorted(found))


def status_text(packages: Iterable[Installed]) -> str:
    """A status file that says that ``packages`` are installed."""
    paragraphs = []
    for package in sorted(packages):
        lines = [
            f"Package: {package.name}",
            "Status: install ok installed",
            f"Version: {package.version}",
            f"Architecture: {package.architecture}",
            # apt reads no package without them.
            "Maintainer: nobody <nobody@example.org>",
            "Description: installed",
            *(f"{name}: {value}" for name, value in package.fields),
        ]
        paragraphs.append("\n".join(lines) + "\n")
    return "\n".join(paragraphs)


def _fields(paragraph: str) -> dict[str, str]:
    """The fields of one paragraph; lines that go on are joined."""
    fields: dict[str, str] = {}
    name = ""
    for line in paragraph.split("\n"):
        if line[:1] in (" ", "\t"):
            if name and len(fields[name]) < _LONGEST_FIELD:
                fields[name] += " " + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    return fields


def _package(fields: dict[str, str]) -> Installed | None:
    name, version, architecture = (fields.get(key, "") for key in ("Package", "Version", "Architecture"))
    # Wanted or held, without an error, and installed: anything else is not there for others.
    if not re.fullmatch(r"(?:install|hold) ok installed", fields.get("Status", "")):
        return None
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        return None
    if not _ARCHITECTURE.fullmatch(architecture):
        return None
    kept: dict[str, str] = {key: _relations(fields[key]) for key in _RELATIONS if key in fields}
    kept.update({key: fields[key] for key, values in _FLAGS.items() if fields.get(key) in values})
    return Installed(name, version, architecture, tuple(sorted((k, v) for k, v in kept.items() if v)))


def _relations(text: str) -> str:
    """A field of relations in its usual form, without what is none."""
    groups = []
    for group in text[:_LONGEST_FIELD].split(","):
        alternatives = [" ".join(one.split()) for one in group.split("|")]
        if all(_RELATION.fullmatch(one) for one in alternatives):
            groups.append(" | ".join(alternatives))
    return ", ".join(groups)
