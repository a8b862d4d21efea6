"""Keys: ECDSA on the curve P-256 with SHA-256, the one algorithm that everybody who verifies images knows.

Private keys are PEM files: of OpenSSL (``EC PRIVATE KEY``, ``PRIVATE KEY``, ``ENCRYPTED PRIVATE KEY``), or as
``cosign generate-key-pair`` makes them. The arithmetic is that of ``cryptography`` and ``pynacl``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

__all__ = ["PrivateKey", "PublicKey", "load_private_key", "load_public_key"]

_LARGEST = 64 << 10
_COSIGN = re.compile(
    rb"-----BEGIN ENCRYPTED (COSIGN|SIGSTORE) PRIVATE KEY-----\s(.*?)-----END ENCRYPTED \1 PRIVATE KEY-----",
    re.DOTALL,
)
_MOST_MEMORY = 1 << 28  # of scrypt: 128 * N * r bytes, which a file chooses
_MAKE_ONE = "`openssl ecparam -name prime256v1 -genkey -noout -out sign.key` or `cosign generate-key-pair`"


class PublicKey:
    """What signatures are verified with."""

    def __init__(self, key: EllipticCurvePublicKey) -> None:
        self._key = key

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` (ASN.1 DER) is one of ``data`` by this key's owner."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            self._key.verify(signature, data, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True

    @property
    def fingerprint(self) -> str:
        """``sha256:<hex>`` of the key as DER: what people compare."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        der = self._key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return "sha256:" + hashlib.sha256(der).hexdigest()


class PrivateKey:
    """What signatures are made with. Its ``repr`` shows nothing of it."""

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        self._key = key

    @property
    def public(self) -> PublicKey:
        """The other half."""
        return PublicKey(self._key.public_key())

    def sign(self, data: bytes) -> bytes:
        """The signature of ``data``, as ASN.1 DER; another one each time."""
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256

        return self._key.sign(data, ECDSA(SHA256()))


def load_private_key(path: Path, passphrase: Callable[[], bytes]) -> PrivateKey:
    """The key in the file ``path``.

    Parameters:
        passphrase: asked when the key is encrypted.

    Raises:
        UsageError: there is no such file, it is no key that can be used, or the passphrase is wrong.
    """
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

    data = _read(path)
    cosign = _COSIGN.search(data)
    try:
        if cosign is not None:
            key: Any = load_der_private_key(_opened(cosign[2], passphrase(), path), None)
        elif b"ENCRYPTED" in data:
            key = load_pem_private_key(data, passphrase())
        else:
            key = load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        # The libraries do not always tell a wrong passphrase from a damaged file.
        if b"ENCRYPTED" in data:
            raise _wrong_passphrase(path) from error
        raise _no_key(path, "private key", _MAKE_ONE) from error
    return PrivateKey(_checked(key, path))


def load_public_key(path: Path) -> PublicKey:
    """The key in the PEM file ``path``.

    Raises:
        UsageError: there is no such file, or it is no key that can be used.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _read(path)
    try:
        key: Any = load_pem_public_key(data)
    except ValueError as error:
        how = "`openssl pkey -in sign.key -pubout -out sign.pub` makes it of the private key"
        raise _no_key(path, "public key", how) from error
    return PublicKey(_checked(key, path))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_LARGEST)
    except OSError as error:
        raise UsageError(
            f"the key {path} cannot be read: {error.strerror}",
            code="no-key",
            remedy="name a PEM file",
        ) from error


def _checked(key: Any, path: Path) -> Any:
    """``key`` if it is of the one kind."""
    curve = getattr(key, "curve", None)
    if getattr(curve, "name", "") != "secp256r1":
        raise UsageError(
            f"the key {path} is of a kind that not everybody can verify",
            code="unsupported-key",
            remedy=f"use one for ECDSA on the curve P-256: {_MAKE_ONE}",
        )
    return key


def _opened(text: bytes, passphrase: bytes, path: Path) -> bytes:
    """The PKCS #8 key in the JSON that cosign encrypts keys as: scrypt for the key, then NaCl's secret box.

    Raises:
        ValueError: it is something else.
    """
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    try:
        sealed = json.loads(base64.b64decode(text))
        derivation, cipher = sealed["kdf"], sealed["cipher"]
        if (derivation["name"], cipher["name"]) != ("scrypt", "nacl/secretbox"):
            raise ValueError("another encryption")
        cost, block, parallel = (int(derivation["params"][name]) for name in ("N", "r", "p"))
        if not (0 < 128 * cost * block * parallel <= _MOST_MEMORY):
            raise ValueError("it asks for too much memory")
        salt, nonce, content = (
            base64.b64decode(part) for part in (derivation["salt"], cipher["nonce"], sealed["ciphertext"])
        )
        secret = hashlib.scrypt(
            passphrase, salt=salt, n=cost, r=block, p=parallel, maxmem=2 * _MOST_MEMORY, dklen=32
        )
        return bytes(SecretBox(secret).decrypt(content, nonce))
    except CryptoError as error:
        raise _wrong_passphrase(path) from error
    except (KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise ValueError("it is not as cosign writes it") from error


def _wrong_passphrase(path: Path) -> UsageError:
    return UsageError(
        f"the passphrase does not open the key {path}",
        code="wrong-passphrase",
        remedy="set ENVBUILD_SIGN_PASSPHRASE; if it is right, the file is damaged",
    )


def _no_key(path: Path, what: str, how: str) -> UsageError:
    return UsageError(f"{path} is no {what} in PEM form", code="no-key", remedy=f"name one; {how}")
