"""Keys for signing, made anew each time."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from nacl.secret import SecretBox

__all__ = ["KeyPair", "cosign_pem", "pkcs8"]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The two halves of a key as PEM files; ``other`` has a public key that is not of the pair."""

    private: Path
    public: Path
    other: Path

    @classmethod
    def make(cls, directory: Path, curve: ec.EllipticCurve | None = None) -> KeyPair:
        """A pair in ``directory``."""
        key, other = (ec.generate_private_key(curve or ec.SECP256R1()) for _ in range(2))
        pair = cls(directory / "sign.key", directory / "sign.pub", directory / "other.pub")
        pair.private.write_bytes(pkcs8(key))
        pair.public.write_bytes(_public(key))
        pair.other.write_bytes(_public(other))
        return pair


def pkcs8(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    """``key`` as ``openssl pkcs8`` writes it."""
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def cosign_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes, *, kind: str = "SIGSTORE") -> bytes:
    """``key`` as ``cosign generate-key-pair`` writes it, but for a cost that takes no time."""
    salt, cost = os.urandom(32), {"N": 16, "r": 8, "p": 1}
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    secret = hashlib.scrypt(passphrase, salt=salt, n=cost["N"], r=cost["r"], p=cost["p"], dklen=32)
    sealed = SecretBox(secret).encrypt(der)
    document = {
        "kdf": {"name": "scrypt", "params": cost, "salt": base64.b64encode(salt).decode()},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(sealed.nonce).decode()},
        "ciphertext": base64.b64encode(sealed.ciphertext).decode(),
    }
    text = base64.encodebytes(json.dumps(document).encode()).decode()
    name = f"ENCRYPTED {kind} PRIVATE KEY"
    return f"-----BEGIN {name}-----\n{text}-----END {name}-----\n".encode()


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
