"""Attaching documents to images: manifests that refer to the image's, and the list of them where need be.

Follows "Pushing manifests with subject" and "Unavailable referrers API" of the OCI distribution specification
1.1, and "Guidelines for artifact usage" of the OCI image specification 1.1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from envbuild.errors import RemoteError
from envbuild.image.config import INDEX_TYPE, MANIFEST_TYPE, canonical
from envbuild.image.descriptor import EMPTY, EMPTY_DATA, Descriptor
from envbuild.registry.repository import Manifest, Repository, referrers_tag
from envbuild.registry.tag_update import update_tag

__all__ = ["Attachment", "attach", "put_bytes"]

_MOST_REFERRERS = 1000


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document for an image.

    ``artifact_type`` is its media type and says what it is; ``filename`` is what tools call it when they
    fetch it; ``annotations`` are shown where referrers are listed.
    """

    artifact_type: str
    data: bytes
    filename: str
    annotations: Mapping[str, str] = field(default_factory=dict)


def attach(repository: Repository, subject: Descriptor, attachment: Attachment) -> Descriptor:
    """Attach a document to the manifest or index ``subject``; the same one is attached once.

    Returns the descriptor of the manifest that does it.

    Raises:
        RemoteError: the registry failed, or takes no such manifests.
    """
    document = put_bytes(repository, attachment.data)
    put_bytes(repository, EMPTY_DATA)
    manifest = {
        "annotations": dict(attachment.annotations),
        "artifactType": attachment.artifact_type,
        "config": EMPTY.to_json(),
        "layers": [
            {
                "annotations": {"org.opencontainers.image.title": attachment.filename},
                "digest": document,
                "mediaType": attachment.artifact_type,
                "size": len(attachment.data),
            }
        ],
        "mediaType": MANIFEST_TYPE,
        "schemaVersion": 2,
        "subject": {
            "digest": subject.digest,
            "mediaType": subject.media_type,
            "size": subject.size,
        },
    }
    data = canonical(manifest)
    descriptor = Descriptor(
        MANIFEST_TYPE,
        _digest(data),
        len(data),
        artifact_type=attachment.artifact_type,
        annotations=tuple(sorted(attachment.annotations.items())),
    )
    if not _is_listed(repository, data):
        tag = referrers_tag(subject.digest)
        update_tag(repository, tag, INDEX_TYPE, partial(_listed, f"{repository.name}:{tag}", descriptor))
    return descriptor


def put_bytes(repository: Repository, data: bytes, *, look: bool = True) -> str:
    """Bring a small blob into ``repository``; returns its digest. ``look`` is as for its ``upload_blob``."""
    digest = _digest(data)
    repository.upload_blob(digest, len(data), lambda: iter((data,)), look=look)
    return digest


def _is_listed(repository: Repository, manifest: bytes) -> bool:
    """Store a referrer; whether the registry lists it."""
    try:
        return repository.put_referrer(manifest, MANIFEST_TYPE)
    except RemoteError as error:
        if error.code != "registry-refused":
            raise
        raise RemoteError(
            f"{repository.registry} does not take documents that belong to an image: {error.message}",
            code="registry-refuses-referrers",
            remedy="push without --sbom and --provenance; `envbuild sbom` writes the document into a file",
        ) from error


def _listed(place: str, descriptor: Descriptor, before: Manifest | None) -> bytes | None:
    """The list of referrers at ``place`` with ``descriptor`` in it; None when it is in it already."""
    index = _parsed(before)
    entries = index.get("manifests", [])
    if before is not None and (before.media_type != INDEX_TYPE or not isinstance(entries, list)):
        raise RemoteError(
            f"{place} should be the list of documents of an image, and is something else",
            code="referrers-tag-taken",
            remedy="delete that tag, and try again",
        )
    if any(isinstance(entry, dict) and entry.get("digest") == descriptor.digest for entry in entries):
        return None
    if len(entries) >= _MOST_REFERRERS:
        raise RemoteError(
            f"{place} lists {len(entries)} documents of one image already",
            code="too-many-referrers",
            remedy="delete old ones, or the tag that lists them",
        )
    # What others wrote stays as it is, whatever it says.
    index = {"mediaType": INDEX_TYPE, "schemaVersion": 2, **index}
    return canonical({**index, "manifests": [*entries, descriptor.to_json()]})


def _parsed(manifest: Manifest | None) -> dict[str, Any]:
    try:
        value = json.loads(manifest.data) if manifest is not None else {}
    except (ValueError, RecursionError):
        return {"manifests": None}
    return value if isinstance(value, dict) else {"manifests": None}


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
