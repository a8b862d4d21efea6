"""Where signatures of an image are: under tags made of its digest, beside it.

Follows "Tag-based discovery" and "OCI Image Manifest V1" of cosign's SIGNATURE_SPEC.md, which podman, CRI-O
and the policy controllers of Kubernetes know, too: every layer of the manifest under the tag is signed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from envbuild.errors import RemoteError
from envbuild.image.config import CONFIG_TYPE, MANIFEST_TYPE, canonical
from envbuild.image.descriptor import parse_descriptor
from envbuild.registry.referrers import put_bytes
from envbuild.registry.repository import Manifest, Repository, referrers_tag
from envbuild.registry.tag_update import update_tag

__all__ = [
    "ENVELOPE_TYPE",
    "SIGNATURE",
    "SIMPLE_SIGNING_TYPE",
    "Signed",
    "add_signed",
    "signed_things",
]

SIMPLE_SIGNING_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
"""The annotation with a signature in base64; of an envelope, which has its own, it is empty."""

Shelf = Literal["sig", "att"]
_MOST = 200
_LARGEST = 64 << 20  # bytes; a statement about many packages has some megabytes
_NO_TIME = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed payload (:data:`SIMPLE_SIGNING_TYPE`), or an envelope (:data:`ENVELOPE_TYPE`)."""

    media_type: str
    data: bytes
    annotations: Mapping[str, str] = field(default_factory=dict)


def signed_things(repository: Repository, digest: str, shelf: Shelf) -> tuple[Signed, ...]:
    """What is signed about the manifest ``digest``: signatures of it (``sig``), or statements (``att``).

    Nobody has looked yet whether a signature is good.

    Raises:
        RemoteError: the registry failed, or what is there is no list of signatures.
    """
    tag = _tag(digest, shelf)
    return _held(repository, tag, repository.manifest(tag))


def add_signed(
    repository: Repository,
    digest: str,
    shelf: Shelf,
    things: Sequence[Signed],
    *,
    replaced: Callable[[Signed], bool] = lambda other: False,
) -> None:
    """Put ``things`` beside the manifest ``digest``, unless they are there.

    Parameters:
        replaced: tells which of those that are there are not needed any more. All others stay.

    Raises:
        RemoteError: the registry failed, or there is something else at that place.
    """
    tag = _tag(digest, shelf)

    def changed(before: Manifest | None) -> bytes | None:
        there = _held(repository, tag, before)
        kept = [one for one in there if one in things or not replaced(one)]
        new = [one for one in things if one not in there]
        if not new and len(kept) == len(there):
            return None
        return _manifest(repository, [*kept, *new])

    update_tag(repository, tag, MANIFEST_TYPE, changed)


def _tag(digest: str, shelf: Shelf) -> str:
    return f"{referrers_tag(digest)}.{shelf}"


def _held(repository: Repository, tag: str, manifest: Manifest | None) -> tuple[Signed, ...]:
    if manifest is None:
        return ()
    try:
        layers = _layers(manifest)
    except ValueError as error:
        raise RemoteError(
            f"{repository.name}:{tag} is no list of signatures: {error}",
            code="bad-signatures",
            remedy="delete that tag, and sign again",
        ) from error
    return tuple(
        Signed(
            layer.media_type,
            b"".join(repository.blob_chunks(layer.digest, layer.size)),
            dict(layer.annotations),
        )
        for layer in layers
    )


def _layers(manifest: Manifest) -> list[Any]:
    """The descriptors of what is signed. Raises :class:`ValueError` with what is wrong."""
    try:
        value = json.loads(manifest.data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    layers = value.get("layers") if isinstance(value, dict) else None
    if not isinstance(layers, list) or len(layers) > _MOST:
        raise ValueError("it has no list of layers, or a very long one")
    descriptors = [parse_descriptor(layer) for layer in layers]
    if sum(descriptor.size for descriptor in descriptors) > _LARGEST:
        raise ValueError("it is too large")
    return descriptors


def _manifest(repository: Repository, things: Sequence[Signed]) -> bytes:
    """A manifest with ``things``, whose blobs are brought there.

    To tools that know nothing of signatures it is an image of uncompressed layers.
    """
    digests = [put_bytes(repository, thing.data) for thing in things]
    config = canonical(
        {
            "architecture": "",
            "config": {},
            "created": _NO_TIME,
            "history": [{"created": _NO_TIME} for _ in things],
            "os": "",
            "rootfs": {"diff_ids": digests, "type": "layers"},
        }
    )
    return canonical(
        {
            "config": {
                "digest": put_bytes(repository, config),
                "mediaType": CONFIG_TYPE,
                "size": len(config),
            },
            "layers": [
                {
                    "annotations": dict(thing.annotations),
                    "digest": digest,
                    "mediaType": thing.media_type,
                    "size": len(thing.data),
                }
                for thing, digest in zip(things, digests, strict=True)
            ],
            "mediaType": MANIFEST_TYPE,
            "schemaVersion": 2,
        }
    )
