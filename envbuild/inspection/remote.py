"""Images in registries: their documents, and of their layers only what is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from envbuild.errors import EnvbuildError, RemoteError, UsageError
from envbuild.image.descriptor import Descriptor
from envbuild.image.reference import Reference
from envbuild.inspection.medium import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Entries,
    MediumKind,
    checked_document,
    index_entries,
)
from envbuild.registry.repository import Repository

__all__ = ["RemoteImage"]


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """The image that ``reference`` names in its ``repository``."""

    reference: Reference
    repository: Repository
    _documents: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return str(self.reference)

    @property
    def kind(self) -> MediumKind:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return "registry"

    def entries(self) -> Entries:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        found = self.repository.manifest(self.reference.version)
        if found is None:
            raise UsageError(
                f"there is no image {self.name}",
                code="no-image-there",
                remedy="check the name; one that is only in the cache is written cache:NAME",
            )
        top = Descriptor(found.media_type, found.digest, len(found.data))
        self._documents[found.digest] = found.data
        if found.media_type in MANIFEST_TYPES:
            return Entries(top, (top,))
        if found.media_type not in INDEX_TYPES:
            raise self.broken(f"it has a manifest of the type {found.media_type[:100]!r}")
        try:
            return index_entries(top, found.data)
        except ValueError as error:
            raise self.broken(str(error)) from error

    def document(self, descriptor: Descriptor) -> bytes:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        if descriptor.digest not in self._documents:
            self._documents[descriptor.digest] = self._fetched(descriptor)
        return self._documents[descriptor.digest]

    def _fetched(self, descriptor: Descriptor) -> bytes:
        if descriptor.media_type in MANIFEST_TYPES | INDEX_TYPES:
            found = self.repository.manifest(descriptor.digest)
            if found is None:
                raise self.broken(f"the registry does not have {descriptor.digest}")
            return found.data
        try:
            return checked_document(self.chunks(descriptor), descriptor)
        except ValueError as error:
            raise self.broken(str(error)) from error

    def chunks(self, descriptor: Descriptor) -> Iterator[bytes]:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return self.repository.blob_chunks(descriptor.digest, descriptor.size)

    def is_file(self, descriptor: Descriptor) -> bool:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return False

    def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return self.repository.referrers(digest)

    def broken(self, trouble: str) -> EnvbuildError:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return RemoteError(
            f"{self.name} cannot be read: {trouble}",
            code="bad-image",
            remedy="push it anew, or name another image",
        )
