"""What installed packages say about themselves: licence, summary, home page, and which files are theirs.

Of wheels it is ``METADATA`` (core metadata, versions 1 to 2.4) and ``RECORD``, of conda packages
``conda-meta/*.json``, of Debian's the database of dpkg. All of it was written by strangers: whatever is not
as it should be is left out, and nothing here raises an error for it.
"""

from __future__ import annotations

import csv
import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from envbuild.contents.licences import Licence, stated_licence
from envbuild.source.text import clean

__all__ = [
    "Metadata",
    "conda_metadata",
    "debian_files",
    "debian_metadata",
    "home_page",
    "wheel_files",
    "wheel_metadata",
]

_LONGEST_NAME: Final = 214  # as long as any index takes
_LONGEST_ADDRESS: Final = 500
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d{1,5})?(?:[/?#][A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*)?")
# A line of spaces is none: it is part of a licence that is a header.
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
# Labels of Project-URL, lower case and without punctuation, the best one first.
_HOME_LABELS: Final = ("homepage", "home", "website", "source", "sourcecode", "repository", "github", "code")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a package says of itself; every text is fit to be printed, "" or None where it says nothing.

    ``home_page`` is an ``http`` or ``https`` address without credentials.
    """

    name: str
    version: str
    summary: str = ""
    licence: Licence | None = None
    home_page: str = ""


def home_page(text: object) -> str:
    """``text`` if it is an address on the web that people may be sent to, else "".

    >>> home_page("https://example.org/project"), home_page("javascript:alert(1)")
    ('https://example.org/project', '')
    """
    address = text.strip() if isinstance(text, str) else ""
    return address if len(address) <= _LONGEST_ADDRESS and _ADDRESS.fullmatch(address) else ""


def wheel_metadata(data: bytes) -> Metadata | None:
    """What a ``METADATA`` file says; None when it does not even name a package.

    The description that follows the headers is not read.
    """
    from packaging.metadata import parse_email

    raw, _ = parse_email(_BLANK_LINE.split(data, 1)[0] + b"\n")
    name, version = _name(raw.get("name")), _name(raw.get("version"))
    if not name:
        return None
    links = {re.sub(r"[\W_]", "", label).lower(): url for label, url in raw.get("project_urls", {}).items()}
    candidates = [*(links.get(label) for label in _HOME_LABELS), raw.get("home_page"), *links.values()]
    return Metadata(
        name,
        version,
        _line(raw.get("summary")),
        stated_licence(raw.get("license_expression", ""), raw.get("license", ""), raw.get("classifiers", ())),
        next(filter(None, map(home_page, candidates)), ""),
    )


def wheel_files(record: bytes, directory: str) -> Iterator[str]:
    """The paths that a ``RECORD`` lists.

    Parameters:
        directory: the one that has the ``.dist-info`` directory, to which the paths are relative.
    """
    lines = record.decode("utf-8", "replace").splitlines()
    try:
        for row in csv.reader(lines):
            if row:
                yield posixpath.normpath(f"{directory}/{row[0]}").lstrip("/")
    except csv.Error:
        return


def conda_metadata(data: bytes) -> tuple[Metadata, tuple[str, ...]] | None:
    """What a file of ``conda-meta`` says, and the package's files below the prefix; None if it is none."""
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not _name(record.get("name")):
        return None
    files = record.get("files")
    listed = tuple(file for file in files if isinstance(file, str)) if isinstance(files, list) else ()
    licence = record.get("license")
    found = Metadata(
        _name(record.get("name")),
        _name(record.get("version")),
        licence=stated_licence(licence) if isinstance(licence, str) and licence.strip() else None,
        home_page=home_page(record.get("home")),
    )
    return found, listed


def debian_metadata(status: bytes) -> Mapping[str, Metadata]:
    """What dpkg's ``status`` says of installed packages, by name and by ``name:architecture``."""
    found: dict[str, Metadata] = {}
    for stanza in re.split(r"\n(?:[ \t]*\n)+", status.decode("utf-8", "replace")):
        fields = dict(re.findall(r"(?m)^([A-Za-z0-9-]+):[ \t]*(.*)$", stanza))
        name = _name(fields.get("Package"))
        if name and fields.get("Status", "").endswith(" installed"):
            metadata = Metadata(
                name,
                _name(fields.get("Version")),
                _line(fields.get("Description")),
                home_page=home_page(fields.get("Homepage")),
            )
            found[name] = found[f"{name}:{_name(fields.get('Architecture'))}"] = metadata
    return found


def debian_files(listed: bytes) -> Iterator[str]:
    """The paths of a ``.list`` file of dpkg, relative to the root; directories are among them."""
    for line in listed.decode("utf-8", "surrogateescape").splitlines():
        path = posixpath.normpath(line).lstrip("/")
        if path and path != ".":
            yield path


def _name(value: Any) -> str:
    return clean(value)[:_LONGEST_NAME] if isinstance(value, str) else ""


def _line(value: Any) -> str:
    shown = clean(" ".join(value.split())) if isinstance(value, str) else ""
    return "" if shown.upper() == "UNKNOWN" else shown
