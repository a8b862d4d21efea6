"""Where an image can be looked at: a registry, an OCI layout, an archive, the cache.

A *medium* gives documents (index, manifest, config) whole and layers as streams, each checked against its
digest and size on the way. What is in an image is not believed, and read within limits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal, Protocol

from envbuild.errors import EnvbuildError
from envbuild.image.config import INDEX_TYPE, MANIFEST_TYPE
from envbuild.image.descriptor import Descriptor, parse_descriptor

__all__ = [
    "INDEX_TYPES",
    "MANIFEST_TYPES",
    "Entries",
    "Medium",
    "MediumKind",
    "checked_chunks",
    "checked_document",
    "index_entries",
    "parse_document",
]

MediumKind = Literal["registry", "layout", "archive", "cache"]

MANIFEST_TYPES = frozenset({MANIFEST_TYPE, "application/vnd.docker.distribution.manifest.v2+json"})
INDEX_TYPES = frozenset({INDEX_TYPE, "application/vnd.docker.distribution.manifest.list.v2+json"})

_LARGEST_DOCUMENT = 4 << 20  # what registries take, too
_MOST_ENTRIES = 1000
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Entries:
    """What a name leads to.

    ``top`` is the index or the manifest that has the name, None when there is none over several platforms.
    ``images`` are manifests, each with its platform if that is said; ``others`` is what is beside them in an
    index and is no image (attestations).
    """

    top: Descriptor | None
    images: tuple[Descriptor, ...]
    others: tuple[Descriptor, ...] = ()


class Medium(Protocol):
    """One name of an image on one medium; ``name`` is how a user would write it."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""

    @property
    def kind(self) -> MediumKind:
        """What kind of medium it is."""

    def entries(self) -> Entries:
        """What the name leads to.

        Raises:
            UsageError: there is no such thing.
            EnvbuildError: it cannot be read, or is no image (:meth:`broken`).
        """

    def document(self, descriptor: Descriptor) -> bytes:
        """A manifest or a config, whole. Raises as :meth:`entries`."""

    def chunks(self, descriptor: Descriptor) -> Iterator[bytes]:
        """A layer as it is stored. Raises as :meth:`entries`, for a damaged one when its end is reached."""

    def is_file(self, descriptor: Descriptor) -> bool:
        """Whether the layer is a file here, which may have been changed since it got its name."""

    def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """What is attached to the manifest ``digest``; empty where nothing can be attached."""

    def broken(self, trouble: str) -> EnvbuildError:
        """The error that says that what is here is not as it must be; ``trouble`` is half a sentence."""


def parse_document(data: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: ``data`` is none; says so in half a sentence.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError("it holds a document that is not JSON") from error
    if not isinstance(value, dict):
        raise ValueError("it holds a document that is not an object")
    return value


def index_entries(top: Descriptor | None, index: bytes) -> Entries:
    """What the index ``index`` lists.

    Raises:
        ValueError: it is none.
    """
    listed = parse_document(index).get("manifests")
    if not isinstance(listed, list) or len(listed) > _MOST_ENTRIES:
        raise ValueError("its index has no list of manifests")
    images: list[Descriptor] = []
    others: list[Descriptor] = []
    for entry in map(parse_descriptor, listed):
        # BuildKit marks its attestations in this way; an OCI artifact says what it is.
        attached = entry.platform == "unknown/unknown" or entry.artifact_type is not None
        is_image = entry.media_type in MANIFEST_TYPES and not attached
        (images if is_image else others).append(entry)
    return Entries(top, tuple(images), tuple(others))


def checked_chunks(stream: IO[bytes], descriptor: Descriptor) -> Iterator[bytes]:
    """The bytes of ``stream``, which must be those that ``descriptor`` names.

    Raises:
        ValueError: they are not; noticed at the end at the latest.
    """
    hashed, left = hashlib.sha256(), descriptor.size
    while left > 0 and (chunk := stream.read(min(_CHUNK, left))):
        hashed.update(chunk)
        left -= len(chunk)
        yield chunk
    if left or stream.read(1) or f"sha256:{hashed.hexdigest()}" != descriptor.digest:
        raise ValueError(f"the blob {descriptor.digest} is damaged")


def checked_document(chunks: Iterable[bytes], descriptor: Descriptor) -> bytes:
    """All of ``chunks``.

    Raises:
        ValueError: the document is larger than any that is needed.
    """
    if descriptor.size > _LARGEST_DOCUMENT:
        raise ValueError(f"the document {descriptor.digest} is too large: {descriptor.size} bytes")
    return b"".join(chunks)
