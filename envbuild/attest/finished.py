"""What can be said about images that are made already, wherever they are: from the lock inside of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from envbuild.attest.attaching import Attached, Attestation, Subject
from envbuild.attest.keys import PublicKey
from envbuild.attest.sbom import sbom
from envbuild.attest.signing import Verified, require_signature
from envbuild.errors import RepoError, UsageError
from envbuild.image.descriptor import Descriptor
from envbuild.image.reference import Reference
from envbuild.inspection.inspector import Inspector, Seen
from envbuild.inspection.remote import RemoteImage
from envbuild.lock.model import Lock
from envbuild.source.text import quote

__all__ = ["Checked", "attest_finished", "check_signature", "sbom_of"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A signature that was found good: of the manifest or index ``digest``, which ``reference`` names now."""

    reference: Reference
    digest: str
    signed: Verified

    @property
    def pinned(self) -> str:
        """The image that was checked, whatever the tag will name later."""
        return f"{self.reference.name}@{self.digest}"

    @property
    def is_signed_as_asked(self) -> bool:
        """Whether it was signed under the name it was asked for with, if that has a tag."""
        if self.reference.tag is None or self.reference.digest is not None:
            return True
        return str(self.reference) in self.signed.names


def sbom_of(seen: Seen, platform: str | None) -> tuple[str, bytes]:
    """A platform and the bill of materials for it, of what was seen: an image, or only a lock.

    Parameters:
        platform: which one of a lock; the first one it has when None. What was seen of an image decides.

    Raises:
        RepoError: an image has no lock that can be used.
        UsageError: the lock has nothing for the platform.
    """
    lock, data = _lock(seen)
    if seen.images:
        view = seen.images[0].view
        return view.platform, sbom(lock, data, view.platform, view)
    chosen = platform or seen.platforms[0]
    if chosen not in seen.platforms:
        raise UsageError(
            f"{quote(seen.name)} has nothing for {chosen}",
            code="no-such-platform",
            remedy=f"it is for {', '.join(seen.platforms)}",
        )
    return chosen, sbom(lock, data, chosen)


def attest_finished(
    inspector: Inspector, text: str, attestation: Attestation
) -> tuple[Reference, Descriptor, tuple[Attached, ...]]:
    """Attach ``attestation`` to the image ``text`` in a registry, for all of its platforms.

    Returns the reference, the manifest or index that it named, and what was attached. Provenance is not made:
    only who builds can state it.

    Raises:
        UsageError: there is no such image in a registry.
        RepoError: what is in the image has to be known, and it has no lock that tells it.
        RemoteError: the registry failed, or takes no such things.
    """
    medium = _in_registry(inspector, text)
    entries = medium.entries()
    top = entries.top or entries.images[0]
    # From here on by digest: what the tag names may change at any time.
    pinned = f"{medium.reference.name}@{top.digest}"
    subject = None
    if attestation.sbom:
        platforms = [image.platform for image in entries.images if image.platform is not None]
        subject = _subject(inspector.look(pinned, platforms))
    manifests: Sequence[Descriptor] = entries.images if entries.images == (top,) else (*entries.images, top)
    attached = attestation.attach(medium.repository, [medium.reference], manifests, subject)
    return medium.reference, top, attached


def check_signature(inspector: Inspector, text: str, key: PublicKey) -> Checked:
    """Check that the image ``text`` in a registry is signed by the owner of ``key``.

    Raises:
        UsageError: there is no such image in a registry.
        RemoteError: it is not signed (``not-signed``), or the registry failed.
    """
    medium = _in_registry(inspector, text)
    entries = medium.entries()
    top = entries.top or entries.images[0]
    signed = require_signature(medium.repository, top.digest, key)
    return Checked(medium.reference, top.digest, signed)


def _in_registry(inspector: Inspector, text: str) -> RemoteImage:
    medium = inspector.medium(inspector.place(text))
    if not isinstance(medium, RemoteImage):
        raise UsageError(
            f"{quote(text)} is not in a registry, and signatures and documents are beside images there",
            code="not-in-registry",
            remedy="push it, and name it with its registry: registry.example.org/team/demo:1.0",
        )
    return medium


def _subject(seen: Seen) -> Subject:
    lock, data = _lock(seen)
    views = [image.view for image in seen.images]
    if any(image.inside.lock_bytes != data for image in seen.images):
        raise RepoError(
            f"the images of {quote(seen.name)} are of different locks",
            code="bad-lock-inside",
            remedy="attest each of them by its digest",
        )
    compressions = sorted({layer.compression or "" for view in views for layer in view.layers})
    return Subject(lock, data, views, " ".join(compressions))


def _lock(seen: Seen) -> tuple[Lock, bytes]:
    """The lock and its text; that in an image must be the one its label names."""
    trouble = seen.images[0].inside.trouble if seen.images else None
    if seen.lock is None or seen.lock_bytes is None or trouble is not None:
        raise RepoError(
            f"{quote(seen.name)} has no lock that says what is in it: {trouble}",
            code="bad-lock-inside",
            remedy="name an image that `envbuild build` has made",
        )
    return seen.lock, seen.lock_bytes
