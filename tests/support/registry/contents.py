"""What the tests' registry holds, and the checks a strict registry makes before it takes something.

Follows the OCI distribution specification 1.1. Nothing here knows about HTTP; refusals are
:class:`Refused` with the status and the error code to answer with.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "INDEX_TYPES",
    "MANIFEST_TYPES",
    "Contents",
    "HeldManifest",
    "Holdings",
    "Refused",
    "UploadSession",
    "digest_of",
]

MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_NAME = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MOST_MANIFEST = 4 << 20  # bytes


def digest_of(data: bytes) -> str:
    """``sha256:<hex>`` of ``data``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Refused(Exception):
    """The registry does not do it; ``code`` is one of the specification's."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class HeldManifest:
    """A manifest or an index as it was sent."""

    media_type: str
    data: bytes

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` of its bytes."""
        return digest_of(self.data)

    @property
    def document(self) -> dict[str, Any]:
        """Its JSON."""
        document: dict[str, Any] = json.loads(self.data)
        return document


@dataclass(slots=True)
class Holdings:
    """One repository: blobs and manifests by digest, tags to digests."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, HeldManifest] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class UploadSession:
    """A blob that is being sent.

    ``last`` is the size of the newest piece; ``state`` changes with every piece, and with it the address.
    """

    repository: str
    data: bytearray = field(default_factory=bytearray)
    last: int = 0
    state: str = field(default_factory=lambda: secrets.token_hex(4))


class Contents:
    """All repositories and upload sessions. Methods may be called from several threads."""

    def __init__(self) -> None:
        self.repositories: dict[str, Holdings] = {}
        self.uploads: dict[str, UploadSession] = {}
        self._guard = threading.RLock()

    def known(self, name: str) -> Holdings:
        """The repository, which must be there."""
        if name not in self.repositories:
            raise Refused(404, "NAME_UNKNOWN", "repository name not known to registry")
        return self.repositories[name]

    def made(self, name: str) -> Holdings:
        """The repository, made with the first thing that is put there."""
        if not _NAME.fullmatch(name):
            raise Refused(400, "NAME_INVALID", f"{name!r} is no name of a repository")
        with self._guard:
            return self.repositories.setdefault(name, Holdings())

    # Blobs

    def blob(self, name: str, digest: str) -> bytes:
        """The blob's bytes."""
        _check_digest(digest)
        blobs = self.known(name).blobs
        if digest not in blobs:
            raise Refused(404, "BLOB_UNKNOWN", "blob unknown to registry")
        return blobs[digest]

    def put_blob(self, name: str, data: bytes, digest: str | None = None) -> str:
        """Keep a blob that was sent as ``digest``; returns its digest."""
        actual = digest_of(data)
        if digest is not None:
            _check_digest(digest)
            if digest != actual:
                raise Refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        with self._guard:
            self.made(name).blobs[actual] = data
        return actual

    def mount(self, name: str, digest: str, source: str) -> bool:
        """Link a blob of the repository ``source`` into ``name``, if it is there."""
        _check_digest(digest)
        with self._guard:
            held = self.repositories.get(source)
            if held is None or digest not in held.blobs:
                return False
            self.made(name).blobs[digest] = held.blobs[digest]
            return True

    # Upload sessions

    def start_upload(self, name: str) -> str:
        """The identifier of a new session."""
        self.made(name)
        identifier = secrets.token_hex(16)
        with self._guard:
            self.uploads[identifier] = UploadSession(name)
        return identifier

    def upload(self, name: str, identifier: str) -> UploadSession:
        """The session, which must be there and be this repository's."""
        session = self.uploads.get(identifier)
        if session is None or session.repository != name:
            raise Refused(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        return session

    def append(
        self, name: str, identifier: str, data: bytes, content_range: str | None, minimum: int
    ) -> UploadSession:
        """Add a piece to a session.

        Parameters:
            content_range: ``FIRST-LAST`` of the piece, which is checked; without it, the piece is what comes
                next.
            minimum: bytes that every piece but the last has to have.
        """
        with self._guard:
            session = self.upload(name, identifier)
            if content_range is not None:
                match = re.fullmatch(r"([0-9]+)-([0-9]+)", content_range)
                if match is None:
                    raise Refused(400, "BLOB_UPLOAD_INVALID", f"bad Content-Range {content_range!r}")
                first, last = int(match[1]), int(match[2])
                if first != len(session.data):
                    raise Refused(416, "BLOB_UPLOAD_INVALID", f"expected byte {len(session.data)}")
                if last - first + 1 != len(data):
                    raise Refused(400, "SIZE_INVALID", "Content-Range is not of the body")
            if session.data and session.last < minimum:
                raise Refused(400, "BLOB_UPLOAD_INVALID", f"the piece before has less than {minimum} bytes")
            session.data += data
            session.last = len(data)
            session.state = secrets.token_hex(4)
            return session

    def finish(self, name: str, identifier: str, digest: str) -> str:
        """Close a session; what was sent becomes the blob ``digest``."""
        with self._guard:
            session = self.upload(name, identifier)
            del self.uploads[identifier]
            return self.put_blob(name, bytes(session.data), digest)

    def cancel(self, name: str, identifier: str) -> None:
        """Forget a session."""
        with self._guard:
            self.upload(name, identifier)
            del self.uploads[identifier]

    # Manifests

    def manifest(self, name: str, reference: str) -> HeldManifest:
        """The manifest or index with this tag or digest."""
        held = self.known(name)
        if ":" in reference:
            _check_digest(reference)
        digest = reference if ":" in reference else held.tags.get(reference)
        if digest is None or digest not in held.manifests:
            raise Refused(404, "MANIFEST_UNKNOWN", f"manifest {reference} unknown to registry")
        return held.manifests[digest]

    def put_manifest(self, name: str, reference: str, media_type: str, data: bytes) -> HeldManifest:
        """Keep a manifest that was sent for a tag or by its digest; everything it names must be here."""
        manifest = HeldManifest(media_type, data)
        document = _checked_document(manifest)
        with self._guard:
            held = self.made(name)
            for descriptor in _parts(document):
                _check_part(held, media_type, descriptor)
            if ":" in reference:
                _check_digest(reference)
                if reference != manifest.digest:
                    raise Refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
            elif not _TAG.fullmatch(reference):
                raise Refused(400, "TAG_INVALID", f"{reference!r} is no tag")
            held.manifests[manifest.digest] = manifest
            if ":" not in reference:
                held.tags[reference] = manifest.digest
        return manifest

    def referrers(self, name: str, subject: str, artifact_type: str | None) -> list[dict[str, Any]]:
        """Descriptors of the manifests whose subject is ``subject``, of one type or of all."""
        _check_digest(subject)
        with self._guard:
            manifests = list(self.repositories.get(name, Holdings()).manifests.values())
        found = []
        for manifest in sorted(manifests, key=lambda manifest: manifest.digest):
            document = manifest.document
            if document.get("subject", {}).get("digest") != subject:
                continue
            descriptor: dict[str, Any] = {
                "mediaType": manifest.media_type,
                "digest": manifest.digest,
                "size": len(manifest.data),
            }
            kind = document.get("artifactType") or document.get("config", {}).get("mediaType")
            if kind:
                descriptor["artifactType"] = kind
            if document.get("annotations"):
                descriptor["annotations"] = document["annotations"]
            if artifact_type in (None, kind):
                found.append(descriptor)
        return found

    # For assertions

    def damages(self) -> list[str]:
        """What is wrong with what is held: bytes that are not their digest's, parts that are missing."""
        wrong = []
        with self._guard:  # a request of a client that has gone may still be under way
            for name, held in sorted(self.repositories.items()):
                wrong += [f"{name}: blob {one}" for one, data in held.blobs.items() if digest_of(data) != one]
                for digest, manifest in held.manifests.items():
                    if manifest.digest != digest:
                        wrong.append(f"{name}: manifest {digest}")
                    for part in _parts(manifest.document):
                        if part["digest"] not in held.blobs and part["digest"] not in held.manifests:
                            wrong.append(f"{name}: {part['digest']} of {digest} is missing")
                wrong += [f"{name}:{tag}" for tag, one in held.tags.items() if one not in held.manifests]
        return wrong


def _check_digest(digest: str) -> None:
    if not _DIGEST.fullmatch(digest):
        raise Refused(400, "DIGEST_INVALID", f"{digest!r} is no digest")


def _checked_document(manifest: HeldManifest) -> dict[str, Any]:
    if len(manifest.data) > _MOST_MANIFEST:
        raise Refused(413, "MANIFEST_INVALID", "manifest too large")
    if manifest.media_type not in (*MANIFEST_TYPES, *INDEX_TYPES):
        raise Refused(400, "MANIFEST_INVALID", f"unknown media type {manifest.media_type!r}")
    try:
        document = json.loads(manifest.data)
    except ValueError as error:
        raise Refused(400, "MANIFEST_INVALID", "not JSON") from error
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise Refused(400, "MANIFEST_INVALID", "schemaVersion is not 2")
    if document.get("mediaType", manifest.media_type) != manifest.media_type:
        raise Refused(400, "MANIFEST_INVALID", "mediaType and Content-Type differ")
    needed = ("manifests",) if manifest.media_type in INDEX_TYPES else ("config", "layers")
    if missing := [key for key in needed if key not in document]:
        raise Refused(400, "MANIFEST_INVALID", f"without {', '.join(missing)}")
    return document


def _parts(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The descriptors of what has to be there; a subject need not."""
    config = [document["config"]] if "config" in document else []
    return [*config, *document.get("layers", ()), *document.get("manifests", ())]


def _check_part(held: Holdings, media_type: str, descriptor: Mapping[str, Any]) -> None:
    digest, size = descriptor.get("digest", ""), descriptor.get("size")
    _check_digest(digest)
    if not descriptor.get("mediaType"):
        raise Refused(400, "MANIFEST_INVALID", f"{digest} without mediaType")
    if media_type in INDEX_TYPES:
        found = held.manifests[digest].data if digest in held.manifests else None
    else:
        found = held.blobs.get(digest)
    if found is None:
        raise Refused(404, "MANIFEST_BLOB_UNKNOWN", f"{digest} unknown to registry")
    if size != len(found):
        raise Refused(400, "SIZE_INVALID", f"{digest} has {len(found)} bytes, not {size}")
