"""Reading one entry of another tool's lock strictly: what is not as it must be is an error with its line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from packaging.markers import InvalidMarker, Marker
from packaging.version import InvalidVersion, Version

from envbuild.errors import RepoError
from envbuild.source.text import quote
from envbuild.spec.locked import LockedFile
from envbuild.spec.pep508 import canonical_name
from envbuild.spec.toml_file import TomlFile

__all__ = ["Entry", "package_lines"]

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?")
_SHA256 = re.compile(r"sha256:([0-9a-fA-F]{64})")
_FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!~-]{0,300}")
_LONGEST_MARKER = 20_000
_DEEPEST_MARKER = 200


class Entry:
    """A table of a lock. ``what`` names it in messages, ``remedy`` says how to write the lock again."""

    def __init__(self, values: object, *, path: str, line: int | None, what: str, remedy: str) -> None:
        self.path = path
        self.line = line
        self._what = what
        self._remedy = remedy
        if not isinstance(values, dict):
            self.fail("is not a table")
        self.values: dict[str, Any] = values

    def fail(self, trouble: str) -> NoReturn:
        """Refuse the lock because of this entry."""
        raise RepoError(
            f"this is not a valid lock: {self._what} {trouble}",
            code="bad-lock",
            file=self.path,
            line=self.line,
            remedy=self._remedy,
        )

    def inner(self, key: str, what: str = "") -> Entry:
        """The table ``key`` in this one; an empty one when it is not there."""
        return Entry(
            self.values.get(key, {}),
            path=self.path,
            line=self.line,
            what=what or f"{key} of {self._what}",
            remedy=self._remedy,
        )

    def text(self, key: str, default: str | None = None) -> str:
        """The text ``key``; without ``default`` it has to be there."""
        value = self.values.get(key, default)
        if not isinstance(value, str):
            self.fail(f"has no text {quote(key)}")
        return value

    def texts(self, key: str) -> list[str]:
        """The list of texts ``key``, empty when it is not there."""
        values = self.values.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            self.fail(f"has something else than a list of texts for {quote(key)}")
        return values

    def name(self, text: str | None = None) -> str:
        """The canonical form of ``text``, or of ``name``; it has to be a package's name."""
        text = self.text("name") if text is None else text
        if not _NAME.fullmatch(text):
            self.fail(f"has the impossible name {quote(text)}")
        return canonical_name(text)

    def version(self, text: str) -> str:
        """``text`` if it is a version (PEP 440)."""
        try:
            Version(text)
        except InvalidVersion:
            self.fail(f"has the impossible version {quote(text)}")
        return text

    def marker(self, text: object) -> str:
        """``text`` if it is a marker (PEP 508) or empty."""
        if not isinstance(text, str):
            self.fail("has a marker that is no text")
        if not text.strip():
            return ""
        try:
            if len(text) > _LONGEST_MARKER or text.count("(") > _DEEPEST_MARKER:
                raise ValueError("too long")
            return str(Marker(text))
        except (InvalidMarker, ValueError, RecursionError):
            self.fail(f"has the impossible marker {quote(text)}")

    def hashes(self, values: object) -> tuple[LockedFile, ...]:
        """Files of which only the hashes are known; those that are not sha256 are left out."""
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            self.fail("has something else than a list of hashes")
        found = [match[1].lower() for value in values if (match := _SHA256.fullmatch(value))]
        return tuple(LockedFile("", sha256) for sha256 in dict.fromkeys(found))

    def files(self, values: object) -> tuple[LockedFile, ...]:
        """A list of ``{file = ..., hash = ...}`` (or ``url``); those without a sha256 are left out."""
        if not isinstance(values, list):
            self.fail("has something else than a list of files")
        files = []
        for value in values:
            given = value.get("file", value.get("url")) if isinstance(value, dict) else None
            digest = value.get("hash", "") if isinstance(value, dict) else None
            if not isinstance(given, str) or not isinstance(digest, str):
                self.fail("lists a file without name and hash")
            filename = unquote(urlsplit(given).path.rpartition("/")[2]) if "://" in given else given
            if not _FILENAME.fullmatch(filename):
                self.fail(f"lists a file with the impossible name {quote(filename)}")
            if match := _SHA256.fullmatch(digest):
                files.append(LockedFile(filename, match[1].lower()))
        return tuple(files)


def package_lines(file: TomlFile, packages: object) -> Mapping[int, int]:
    """Where the n-th ``[[package]]`` begins; nothing when they are not written as tables."""
    starts = file.lines_of_table("package")
    return dict(enumerate(starts)) if isinstance(packages, list) and len(packages) == len(starts) else {}
