"""Names of images: ``[registry/]repository[:tag][@digest]``, as in the distribution project's grammar."""

from __future__ import annotations

import re
from dataclasses import dataclass

from envbuild.errors import UsageError

__all__ = [
    "DEFAULT_REGISTRY",
    "Reference",
    "full_name",
    "is_digest",
    "is_reference",
    "is_repository_name",
    "parse_reference",
]

DEFAULT_REGISTRY = "docker.io"
_DEFAULT_FOLDER = "library/"  # where Docker Hub keeps what has a name without a slash
_DEFAULT_TAG = "latest"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_NAME = re.compile(rf"(?:{_REGISTRY}/)?{_PATH}", re.ASCII)
_REPOSITORY = re.compile(_PATH, re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_LONGEST_NAME = 255
_LONGEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Reference:
    """An image in a registry.

    ``registry`` is a host with its port, if it has one (``docker.io``, ``127.0.0.1:5000``); ``repository`` is
    the path in it, in full (``library/python``); when there is a ``digest`` it decides, and ``tag`` is only
    for people.
    """

    registry: str
    repository: str
    tag: str | None
    digest: str | None

    @property
    def name(self) -> str:
        """``registry/repository``."""
        return f"{self.registry}/{self.repository}"

    @property
    def version(self) -> str:
        """What the registry is asked for: the digest, else the tag."""
        return self.digest or self.tag or _DEFAULT_TAG

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"

    def with_tag(self, tag: str) -> Reference:
        """The image with this tag in the same repository.

        Raises:
            UsageError: it is no tag.
        """
        if not _TAG.fullmatch(tag):
            raise _refused(f"{self.name}:{tag}")
        return Reference(self.registry, self.repository, tag, None)

    def with_digest(self, digest: str) -> Reference:
        """The image with this digest in the same repository.

        Raises:
            UsageError: it is no sha256 digest.
        """
        if not is_digest(digest):
            raise _refused(f"{self.name}@{digest}")
        return Reference(self.registry, self.repository, None, digest)


def parse_reference(text: str) -> Reference:
    """The image that ``text`` names, with what people leave out filled in.

    A first component counts as a registry if it has a dot or a colon, or is ``localhost``.

    >>> str(parse_reference("python")), str(parse_reference("me/demo:1"))
    ('docker.io/library/python:latest', 'docker.io/me/demo:1')
    >>> str(parse_reference("127.0.0.1:5000/demo"))
    '127.0.0.1:5000/demo:latest'

    Raises:
        UsageError: it is no name of an image, or its digest is none of sha256.
    """
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise _refused(text)
    name, tag = _split(rest)
    if not _is_name(name) or (tag is not None and not _TAG.fullmatch(tag)):
        raise _refused(text)
    registry, repository = _located(name)
    if not _REPOSITORY.fullmatch(repository) or _port(registry) > _LONGEST_PORT:
        raise _refused(text)
    return Reference(registry, repository, tag if tag or at else _DEFAULT_TAG, digest if at else None)


def full_name(text: str) -> str:
    """``text`` with the tag ``latest`` when it has none.

    >>> full_name("demo"), full_name("localhost:5000/team/demo:1.0")
    ('demo:latest', 'localhost:5000/team/demo:1.0')

    Raises:
        UsageError: it is no name of an image.
    """
    name, tag = _split(text)
    tag = _DEFAULT_TAG if tag is None else tag
    if not _is_name(name) or not _TAG.fullmatch(tag):
        raise _refused(text)
    return f"{name}:{tag}"


def is_digest(text: str) -> bool:
    """Whether ``text`` is ``sha256:`` and 64 lower-case hexadecimal digits; no other algorithm is used."""
    return _DIGEST.fullmatch(text) is not None


def is_reference(text: str) -> bool:
    """Whether ``text`` names an image that could be in a registry."""
    try:
        parse_reference(text)
    except UsageError:
        return False
    return True


def is_repository_name(text: str) -> bool:
    """Whether ``text`` is ``registry/repository`` in full, as :attr:`Reference.name` gives it."""
    try:
        return parse_reference(text).name == text
    except UsageError:
        return False


def _split(text: str) -> tuple[str, str | None]:
    """Name and tag; the tag is None when there is no colon for it."""
    cut = text.rfind(":")
    has_tag = cut > text.rfind("/")  # otherwise the colon, if any, is that of a registry's port
    return (text[:cut], text[cut + 1 :]) if has_tag else (text, None)


def _is_name(name: str) -> bool:
    return len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None


def _located(name: str) -> tuple[str, str]:
    """Registry and repository of a name that may have neither in full."""
    first, slash, rest = name.partition("/")
    is_registry = slash and (any(char in first for char in ".:") or first.lower() == "localhost")
    registry, repository = (first.lower(), rest) if is_registry else (DEFAULT_REGISTRY, name)
    if registry == f"index.{DEFAULT_REGISTRY}":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = _DEFAULT_FOLDER + repository
    return registry, repository


def _port(registry: str) -> int:
    _, colon, port = registry.rpartition(":")
    return int(port) if colon and port.isdecimal() else 0


def _refused(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is not a name for an image",
        code="bad-image-name",
        remedy="write it like registry.example.org/team/demo:1.0, the path in lower case",
    )
