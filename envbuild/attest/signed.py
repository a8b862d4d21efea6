"""What is signed, and how a signature goes with it.

For an image: the "simple signing" payload of containers-signature(5), as cosign's SIGNATURE_SPEC.md has it.
For a document: an in-toto statement in an envelope of DSSE 1.0 (Dead Simple Signing Envelope).
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from envbuild.attest.document import IN_TOTO_TYPE, document_bytes
from envbuild.attest.keys import PrivateKey, PublicKey
from envbuild.attest.provenance import STATEMENT_TYPE
from envbuild.image.config import canonical

__all__ = [
    "CYCLONEDX_PREDICATE",
    "Claim",
    "image_payload",
    "open_envelope",
    "read_image_payload",
    "sbom_statement",
    "seal",
    "statement_claim",
]

CYCLONEDX_PREDICATE = "https://cyclonedx.org/bom"
_IMAGE = "cosign container image signature"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a signed statement says: that ``predicate_type`` holds for everything with one of ``digests``
    (``sha256:<hex>``).
    """

    predicate_type: str
    digests: frozenset[str]


def image_payload(reference: str, digest: str) -> bytes:
    """That the image ``reference`` (a full name, with its tag if it has one) is the manifest ``digest``.

    cosign looks at the digest alone; podman and CRI-O also want the name to be the one that was asked for.
    """
    return canonical(
        {
            "critical": {
                "identity": {"docker-reference": reference},
                "image": {"docker-manifest-digest": digest},
                "type": _IMAGE,
            },
            "optional": {"creator": "envbuild"},
        }
    )


def read_image_payload(payload: bytes) -> tuple[str, str] | None:
    """Reference and digest that ``payload`` is about; None when it is not about an image."""
    critical = _object(_parsed(payload).get("critical"))
    identity, image = _object(critical.get("identity")), _object(critical.get("image"))
    reference, digest = identity.get("docker-reference"), image.get("docker-manifest-digest")
    if critical.get("type") != _IMAGE or not isinstance(digest, str):
        return None
    return (reference if isinstance(reference, str) else "", digest)


def sbom_statement(name: str, digest: str, sbom: bytes) -> bytes:
    """That ``sbom`` is the bill of materials of the manifest ``digest``, as an in-toto statement.

    Follows in-toto's CycloneDX predicate. ``name`` is what the subject is called.
    """
    return document_bytes(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}],
            "predicateType": CYCLONEDX_PREDICATE,
            "predicate": json.loads(sbom),
        }
    )


def statement_claim(statement: bytes) -> Claim | None:
    """What an in-toto statement is about; None when it is none."""
    value = _parsed(statement)
    subjects, predicate_type = value.get("subject"), value.get("predicateType")
    if not isinstance(subjects, list) or not isinstance(predicate_type, str):
        return None
    digests = (_object(_object(subject).get("digest")).get("sha256") for subject in subjects)
    return Claim(predicate_type, frozenset(f"sha256:{hexadecimal}" for hexadecimal in digests if hexadecimal))


def seal(statement: bytes, key: PrivateKey) -> bytes:
    """``statement`` in a signed envelope."""
    signature = key.sign(_encoded(IN_TOTO_TYPE, statement))
    return canonical(
        {
            "payload": base64.b64encode(statement).decode(),
            "payloadType": IN_TOTO_TYPE,
            "signatures": [{"keyid": "", "sig": base64.b64encode(signature).decode()}],
        }
    )


def open_envelope(envelope: bytes, key: PublicKey) -> bytes | None:
    """The statement in ``envelope``; None when nothing in it is signed with ``key``."""
    value = _parsed(envelope)
    signatures, payload_type = value.get("signatures"), value.get("payloadType")
    if payload_type != IN_TOTO_TYPE or not isinstance(signatures, list):
        return None
    try:
        payload = base64.b64decode(value.get("payload", ""), validate=True)
        made = [base64.b64decode(_object(entry).get("sig", ""), validate=True) for entry in signatures]
    except (binascii.Error, TypeError, ValueError):
        return None
    data = _encoded(payload_type, payload)
    return payload if any(key.verifies(signature, data) for signature in made) else None


def _encoded(payload_type: str, payload: bytes) -> bytes:
    """What is signed of an envelope: DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        return _object(json.loads(data))
    except (ValueError, RecursionError):
        return {}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
