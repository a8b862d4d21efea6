"""Bringing what is said about images to the repository they are in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from envbuild.attest.document import CYCLONEDX_TYPE, IN_TOTO_TYPE, ImageDescription
from envbuild.attest.invocation import Invocation
from envbuild.attest.keys import PrivateKey
from envbuild.attest.package_url import image_url
from envbuild.attest.provenance import PREDICATE_TYPE, provenance
from envbuild.attest.sbom import sbom
from envbuild.attest.signed import sbom_statement
from envbuild.attest.signing import sign_image, sign_statement
from envbuild.image.descriptor import Descriptor
from envbuild.image.reference import Reference
from envbuild.lock.model import Lock
from envbuild.registry.referrers import Attachment, attach
from envbuild.registry.repository import Repository
from envbuild.source import Origin

__all__ = ["Attached", "Attestation", "Subject"]

_CREATED = "org.opencontainers.image.created"
_PREDICATE = "in-toto.io/predicate-type"  # as BuildKit calls it


@dataclass(frozen=True, slots=True)
class Subject:
    """Images (one per platform) and the lock they were made from.

    ``compression`` is that of their layers; ``origin`` is where the repository was fetched from.
    """

    lock: Lock
    lock_bytes: bytes
    images: Sequence[ImageDescription]
    compression: str
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, order=True)
class Attached:
    """One thing that was attached to the manifest or index ``subject``.

    ``digest`` is that of the manifest that attaches a document; "" for a signature, which is found by its
    place.
    """

    subject: str
    kind: Literal["sbom", "provenance", "signature"]
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Attestation:
    """What to say about images where they are.

    ``sbom``, ``provenance`` and ``signature`` (with this key) are what is attached; ``invocation`` is the run
    of a CI system that this is part of. With a key, the documents are signed as well.
    """

    sbom: bool = False
    provenance: bool = False
    key: PrivateKey | None = None
    invocation: Invocation | None = None

    def attach(
        self,
        repository: Repository,
        references: Sequence[Reference],
        manifests: Sequence[Descriptor],
        subject: Subject | None,
    ) -> tuple[Attached, ...]:
        """Attach it to ``manifests``, which are in ``repository``: an image's, or those of several and their
        index last.

        Parameters:
            references: what the last one is to be called; it and all others are signed under these names.
            subject: what is known of the images; None when nothing is (a container engine made them): then
                there is nothing to attach but signatures.

        Raises:
            RemoteError: the registry failed, or takes no such things.
        """
        done = []
        if subject is not None and self.sbom:
            done += self._sboms(repository, manifests, subject)
        if subject is not None and self.provenance:
            done += self._provenance(repository, manifests, subject)
        if self.key is not None:
            # Last: where the signature is, all that it is to vouch for is as well.
            names = _names(references, repository.name) or [repository.name]
            for manifest in manifests:
                sign_image(repository, manifest.digest, names, self.key)
                done.append(Attached(manifest.digest, "signature"))
        return tuple(done)

    def _sboms(
        self, repository: Repository, manifests: Sequence[Descriptor], subject: Subject
    ) -> list[Attached]:
        """One for each image."""
        done = []
        lock = subject.lock
        images = {image.manifest.digest: image for image in subject.images}
        for manifest in manifests:
            image = images.get(manifest.digest)
            if image is None:
                continue
            document = sbom(lock, subject.lock_bytes, image.platform, image)
            attachment = Attachment(CYCLONEDX_TYPE, document, "sbom.cdx.json", {_CREATED: lock.cutoff})
            attached = attach(repository, manifest, attachment)
            if self.key is not None:
                name = image_url(lock.name, manifest.digest, image.platform)
                statement = sbom_statement(name, manifest.digest, document)
                sign_statement(repository, manifest.digest, statement, self.key)
            done.append(Attached(manifest.digest, "sbom", attached.digest))
        return done

    def _provenance(
        self, repository: Repository, manifests: Sequence[Descriptor], subject: Subject
    ) -> list[Attached]:
        """One for all, attached to each: they are of one build."""
        images = {image.manifest.digest for image in subject.images}
        top = manifests[-1].digest
        statement = provenance(
            subject.lock,
            subject.lock_bytes,
            subject.images,
            index=top if top not in images else None,
            compression=subject.compression,
            origin=subject.origin,
            invocation=self.invocation,
        )
        annotations = {_CREATED: subject.lock.cutoff, _PREDICATE: PREDICATE_TYPE}
        attachment = Attachment(IN_TOTO_TYPE, statement, "provenance.json", annotations)
        done = []
        for manifest in manifests:
            attached = attach(repository, manifest, attachment)
            if self.key is not None:
                sign_statement(repository, manifest.digest, statement, self.key)
            done.append(Attached(manifest.digest, "provenance", attached.digest))
        return done


def _names(references: Sequence[Reference], name: str) -> list[str]:
    """The tags in the repository ``name``, in full. Of a digest nobody can tell that a tag names it."""
    tagged = [one for one in references if one.name == name and one.tag is not None and one.digest is None]
    return [str(reference) for reference in tagged]
