"""Signing images and documents where they are, and looking whether somebody's signature is there."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

from envbuild.attest.keys import PrivateKey, PublicKey
from envbuild.attest.signed import (
    Claim,
    image_payload,
    open_envelope,
    read_image_payload,
    seal,
    statement_claim,
)
from envbuild.errors import RemoteError
from envbuild.registry.repository import Repository
from envbuild.registry.signatures import (
    ENVELOPE_TYPE,
    SIGNATURE,
    SIMPLE_SIGNING_TYPE,
    Signed,
    add_signed,
    signed_things,
)

__all__ = ["Verified", "require_signature", "sign_image", "sign_statement", "verified"]


@dataclass(frozen=True, slots=True)
class Verified:
    """What the owner of a key has signed about an image.

    ``names`` are the names it was signed under (``registry/repository:tag``), ``statements`` the kinds of
    statements about it (predicate types), both sorted.
    """

    names: tuple[str, ...]
    statements: tuple[str, ...]


def sign_image(repository: Repository, digest: str, names: Iterable[str], key: PrivateKey) -> None:
    """Sign the manifest ``digest`` under each of ``names``; what is signed with this key stays as it is.

    Raises:
        RemoteError: the registry failed.
    """
    public = key.public
    there = {thing.data for thing in signed_things(repository, digest, "sig") if _is_signature(thing, public)}
    payloads = [image_payload(name, digest) for name in sorted(set(names))]
    made = [
        Signed(SIMPLE_SIGNING_TYPE, payload, {SIGNATURE: base64.b64encode(key.sign(payload)).decode()})
        for payload in payloads
        if payload not in there
    ]
    add_signed(repository, digest, "sig", made)


def sign_statement(repository: Repository, digest: str, statement: bytes, key: PrivateKey) -> None:
    """Sign an in-toto statement about the manifest ``digest``.

    It takes the place of what was signed with this key before and is of the same kind.

    Raises:
        RemoteError: the registry failed.
    """
    public, claim = key.public, statement_claim(statement)
    kind = claim.predicate_type if claim is not None else ""

    def replaced(other: Signed) -> bool:
        known = _claim(other, public)
        return known is not None and known.predicate_type == kind

    for thing in signed_things(repository, digest, "att"):
        if thing.media_type == ENVELOPE_TYPE and open_envelope(thing.data, public) == statement:
            add_signed(repository, digest, "att", [thing], replaced=replaced)
            return
    made = Signed(ENVELOPE_TYPE, seal(statement, key), {SIGNATURE: "", "predicateType": kind})
    add_signed(repository, digest, "att", [made], replaced=replaced)


def verified(repository: Repository, digest: str, key: PublicKey) -> Verified:
    """What the owner of ``key`` has signed about the manifest ``digest``; empty when that is nothing.

    Raises:
        RemoteError: the registry failed.
    """
    names = set()
    for thing in signed_things(repository, digest, "sig"):
        told = read_image_payload(thing.data) if _is_signature(thing, key) else None
        if told is not None and told[1] == digest:
            names.add(told[0])
    claims = [_claim(thing, key) for thing in signed_things(repository, digest, "att")]
    kinds = {claim.predicate_type for claim in claims if claim is not None and digest in claim.digests}
    return Verified(tuple(sorted(names)), tuple(sorted(kinds)))


def require_signature(repository: Repository, digest: str, key: PublicKey) -> Verified:
    """As :func:`verified`.

    Raises:
        RemoteError: also when the image is not signed by the owner of ``key`` (``not-signed``).
    """
    found = verified(repository, digest, key)
    if not found.names:
        raise RemoteError(
            f"{repository.name}@{digest} has no signature by the key {key.fingerprint}",
            code="not-signed",
            remedy="do not use it, unless you know why; `envbuild attest` signs an image",
        )
    return found


def _is_signature(thing: Signed, key: PublicKey) -> bool:
    """Whether ``thing`` is a payload with a signature by the owner of ``key``."""
    if thing.media_type != SIMPLE_SIGNING_TYPE:
        return False
    try:
        signature = base64.b64decode(thing.annotations.get(SIGNATURE, ""), validate=True)
    except (binascii.Error, ValueError):
        return False
    return key.verifies(signature, thing.data)


def _claim(thing: Signed, key: PublicKey) -> Claim | None:
    """What ``thing`` states, if it is an envelope by the owner of ``key``."""
    statement = open_envelope(thing.data, key) if thing.media_type == ENVELOPE_TYPE else None
    return statement_claim(statement) if statement is not None else None
