"""Names of images: ``[registry/]path:tag``, as in the distribution project's reference grammar."""

from __future__ import annotations

import re

from envbuild.errors import UsageError

__all__ = ["full_name"]

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]+)?"
_NAME = re.compile(rf"(?:{_REGISTRY}/)?{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)


def full_name(text: str) -> str:
    """``text`` with the tag ``latest`` when it has none.

    >>> full_name("demo"), full_name("localhost:5000/team/demo:1.0")
    ('demo:latest', 'localhost:5000/team/demo:1.0')

    Raises:
        UsageError: it is no name of an image.
    """
    cut = text.rfind(":")
    has_tag = cut > text.rfind("/")  # otherwise the colon, if any, is that of a registry's port
    name, tag = (text[:cut], text[cut + 1 :]) if has_tag else (text, "latest")
    if len(name) > 255 or not _NAME.fullmatch(name) or not _TAG.fullmatch(tag):
        raise UsageError(
            f"{text!r} is not a name for an image",
            code="bad-image-name",
            remedy="write it like registry.example.org/team/demo:1.0, the path in lower case",
        )
    return f"{name}:{tag}"
