"""Images in directories: OCI layouts of anybody's, and our own cache.

Follows image-layout.md of the OCI image specification 1.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild.errors import EnvbuildError, UsageError
from envbuild.image.config import MANIFEST_TYPE
from envbuild.image.descriptor import Descriptor, parse_descriptor
from envbuild.inspection.medium import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Entries,
    MediumKind,
    checked_chunks,
    checked_document,
    index_entries,
    parse_document,
)
from envbuild.registry.places import known_places
from envbuild.source import printable
from envbuild.store import Blob, Store
from envbuild.store.images import StoredImage

if TYPE_CHECKING:
    from envbuild.registry.registries import Registries

__all__ = ["CachedImage", "LayoutImage", "choose_entry", "named_entries", "split_name"]

_REF = "org.opencontainers.image.ref.name"
_LARGEST_INDEX = 4 << 20


@dataclass(frozen=True, slots=True)
class LayoutImage:
    """The image called ``wanted`` in the OCI layout ``directory``; the only one there when None."""

    directory: Path
    wanted: str | None = None

    @property
    def name(self) -> str:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return f"oci:{self.directory}" + (f":{self.wanted}" if self.wanted else "")

    @property
    def kind(self) -> MediumKind:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return "layout"

    def entries(self) -> Entries:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        try:
            with (self.directory / "index.json").open("rb") as stream:
                index = stream.read(_LARGEST_INDEX)
            top = choose_entry(index, self.wanted)
            return named_entries(top, self.document(top))
        except FileNotFoundError as error:
            raise UsageError(
                f"{printable(str(self.directory))} is not an OCI layout",
                code="no-image-there",
                remedy="name a directory with an index.json, as `envbuild build -o oci:DIRECTORY` writes it",
            ) from error
        except (OSError, ValueError) as error:
            raise self.broken(_reason(error)) from error

    def document(self, descriptor: Descriptor) -> bytes:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        try:
            return checked_document(self.chunks(descriptor), descriptor)
        except ValueError as error:
            raise self.broken(str(error)) from error

    def chunks(self, descriptor: Descriptor) -> Iterator[bytes]:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        path = self.directory / "blobs" / "sha256" / descriptor.digest.removeprefix("sha256:")
        try:
            with path.open("rb") as stream:
                yield from checked_chunks(stream, descriptor)
        except FileNotFoundError as error:
            raise self.broken(f"the blob {descriptor.digest} is missing") from error
        except (OSError, ValueError) as error:
            raise self.broken(_reason(error)) from error

    def is_file(self, descriptor: Descriptor) -> bool:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return True

    def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return ()

    def broken(self, trouble: str) -> EnvbuildError:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return UsageError(
            f"the image at {printable(self.name)} cannot be read: {trouble}",
            code="bad-image",
            remedy="write it anew",
        )


@dataclass(frozen=True, slots=True)
class CachedImage:
    """The image of one name in the cache; ``images`` is one for each platform.

    Layers that were found in a registry and never needed here are read there; ``registries`` gives the
    connections.
    """

    store: Store
    images: tuple[StoredImage, ...]
    registries: Callable[[], Registries]

    @property
    def name(self) -> str:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return f"cache:{self.images[0].name}"

    @property
    def kind(self) -> MediumKind:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return "cache"

    def entries(self) -> Entries:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        listed = tuple(
            Descriptor(MANIFEST_TYPE, image.manifest.digest, image.manifest.size, image.platform)
            for image in self.images
        )
        return Entries(listed[0] if len(listed) == 1 else None, listed)

    def document(self, descriptor: Descriptor) -> bytes:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return self._layout.document(descriptor)

    def chunks(self, descriptor: Descriptor) -> Iterator[bytes]:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        blob = Blob(descriptor.digest, descriptor.size)
        if not self.store.has_blob(blob.digest, blob.size) and known_places(self.store, blob.digest):
            from envbuild.registry.push import blob_content

            return blob_content(blob, self.store, self.registries())()
        return self._layout.chunks(descriptor)

    def is_file(self, descriptor: Descriptor) -> bool:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return self.store.has_blob(descriptor.digest, descriptor.size)

    def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return ()

    def broken(self, trouble: str) -> EnvbuildError:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return self._layout.broken(trouble)

    @property
    def _layout(self) -> LayoutImage:
        return LayoutImage(self.store.layout, self.images[0].name)


def split_name(text: str) -> tuple[str, str | None]:
    """Path and name of ``PATH[:NAME]``, where both may have colons: the path is one that exists.

    >>> split_name("/nowhere/at:all")
    ('/nowhere/at:all', None)
    """
    if not Path(text).exists():
        for cut, char in enumerate(text):
            if char == ":" and cut and Path(text[:cut]).exists():
                return text[:cut], text[cut + 1 :] or None
    return text, None


def choose_entry(index: bytes, wanted: str | None) -> Descriptor:
    """The entry of a layout's ``index.json`` that is called ``wanted``, or the only one.

    Raises:
        ValueError: it is no index.
        UsageError: there is none of that name, or more than one and no name was given.
    """
    listed = parse_document(index).get("manifests")
    if not isinstance(listed, list):
        raise ValueError("its index has no list of manifests")
    entries = [
        entry
        for entry in map(parse_descriptor, listed)
        if entry.media_type in MANIFEST_TYPES | INDEX_TYPES and entry.artifact_type is None
    ]
    names = [dict(entry.annotations).get(_REF) for entry in entries]
    if wanted is None:
        fitting = {entry.digest: entry for entry in entries}
    else:
        found = [entry for entry, name in zip(entries, names, strict=True) if _is_called(name, wanted)]
        fitting = {entry.digest: entry for entry in found}
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    known = sorted({printable(name) for name in names if name})
    raise UsageError(
        f"there is no image called {wanted!r}" if wanted else f"there are {len(fitting)} images",
        code="no-image-there" if wanted or not fitting else "several-images",
        remedy=f"name one after a colon: {', '.join(known)}" if known else "name another place",
    )


def _is_called(name: str | None, wanted: str) -> bool:
    """Names in layouts are references, or tags alone."""
    return name is not None and wanted in (name, name.rpartition(":")[2])


def named_entries(top: Descriptor, document: bytes) -> Entries:
    """What is below ``top``, whose content is ``document``: an index, or a manifest itself.

    Raises:
        ValueError: it is neither.
    """
    if top.media_type in INDEX_TYPES:
        return index_entries(top, document)
    return Entries(top, (top,))


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
