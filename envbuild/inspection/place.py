"""What a name on the command line means: a lock, a repository, or an image somewhere.

Decided by how the name is written and by what is on this machine; nothing is asked of anybody to find out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from envbuild.errors import UsageError
from envbuild.image.reference import parse_reference
from envbuild.inspection.layout import split_name
from envbuild.source.text import quote

__all__ = ["Place", "PlaceKind", "parse_place"]

PlaceKind = Literal["lock", "source", "layout", "archive", "cache", "registry"]

_PREFIXES: dict[str, PlaceKind] = {"oci": "layout", "archive": "archive", "cache": "cache"}
_PATH_LIKE = re.compile(r"\.{0,2}/|\.{1,2}$|~")
_FAR_SOURCE = re.compile(r"[^#]*#|[a-z+]+://|doi:|10\.\d{4,9}/|swh:|git@", re.IGNORECASE)
_LOCK_ENDING = ".lock"


@dataclass(frozen=True, slots=True)
class Place:
    """A ``kind`` and its ``text``: a path, a SOURCE or a reference; ``name`` is that of an image in it."""

    kind: PlaceKind
    text: str
    name: str | None = None


def parse_place(text: str, is_cached: Callable[[str], bool] = lambda name: False) -> Place:
    """What ``text`` names.

    A prefix decides, then what is there: ``oci:DIRECTORY[:NAME]``, ``archive:FILE[:NAME]``, ``cache:NAME``; a
    file or directory; a name that the cache knows, unless it begins with a registry; else a reference.

    >>> parse_place("registry.example.org/team/demo:1").kind, parse_place("https://example.org/repo#v1").kind
    ('registry', 'source')

    Parameters:
        is_cached: tells whether the cache has an image of this name.

    Raises:
        UsageError: it cannot be the name of anything.
    """
    if not text or "\0" in text:
        raise UsageError("nothing is named", code="bad-place", remedy="name an image, a lock or a directory")
    prefix, colon, rest = text.partition(":")
    if colon and prefix in _PREFIXES and rest:
        kind = _PREFIXES[prefix]
        return Place(kind, rest) if kind == "cache" else Place(kind, *split_name(rest))
    if _exists(text) or _PATH_LIKE.match(text):
        return _local(text)
    if _FAR_SOURCE.match(text):
        return Place("source", text)
    if text.endswith(_LOCK_ENDING):
        return Place("lock", text)  # the error about it comes with reading it
    has_registry = "/" in text and any(char in text.partition("/")[0] for char in ".:")
    if not has_registry and not text.startswith("localhost/") and is_cached(text):
        return Place("cache", text)
    parse_reference(text)
    return Place("registry", text)


def _local(text: str) -> Place:
    path = Path(text).expanduser()
    if path.is_dir():
        return Place("layout" if (path / "oci-layout").is_file() else "source", str(path))
    if not path.exists():
        raise UsageError(
            f"there is no file or directory {quote(text)}",
            code="no-such-place",
            remedy="name an image, a lock or a directory",
        )
    if path.suffix == _LOCK_ENDING:
        return Place("lock", str(path))
    return Place("archive", str(path))


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except OSError:  # a name that is too long
        return False
