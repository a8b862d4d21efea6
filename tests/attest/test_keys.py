"""Keys for signing, in every form they come in."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from securesystemslib.signer import SSlibKey

from envbuild.attest.keys import load_private_key, load_public_key
from envbuild.errors import UsageError
from tests.support.keys import KeyPair, cosign_pem, pkcs8


def _no_passphrase() -> bytes:
    raise AssertionError("nobody should be asked for a passphrase")


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _public_file(key: ec.EllipticCurvePrivateKey, directory: Path) -> Path:
    path = directory / "sign.pub"
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def test_keys_of_openssl_and_of_cosign_make_signatures(
    key: ec.EllipticCurvePrivateKey, tmp_path: Path
) -> None:
    public = load_public_key(_public_file(key, tmp_path))
    forms = {
        "PRIVATE KEY": pkcs8(key),
        "EC PRIVATE KEY": key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        "ENCRYPTED PRIVATE KEY": pkcs8(key, b"secret"),
        "ENCRYPTED SIGSTORE PRIVATE KEY": cosign_pem(key, b"secret"),
        "ENCRYPTED COSIGN PRIVATE KEY": cosign_pem(key, b"secret", kind="COSIGN"),
    }
    for form, pem in forms.items():
        path = tmp_path / "sign.key"
        path.write_bytes(pem)
        assert form.encode() in pem

        private = load_private_key(path, (lambda: b"secret") if "ENCRYPTED" in form else _no_passphrase)

        assert public.verifies(private.sign(b"data"), b"data"), form
        assert public.fingerprint == private.public.fingerprint


def test_signatures_are_those_that_others_verify(key: ec.EllipticCurvePrivateKey, tmp_path: Path) -> None:
    """securesystemslib, the library of in-toto and of TUF."""
    path = tmp_path / "sign.key"
    path.write_bytes(pkcs8(key))
    theirs = SSlibKey.from_crypto(key.public_key())

    signature = load_private_key(path, _no_passphrase).sign(b"data")

    from securesystemslib.signer import Signature

    theirs.verify_signature(Signature(theirs.keyid, signature.hex()), b"data")
    assert "ecdsa-sha2-nistp256" == theirs.scheme


def test_what_was_changed_or_is_of_another_key_does_not_verify(tmp_path: Path) -> None:
    pair = KeyPair.make(tmp_path)
    private, public = load_private_key(pair.private, _no_passphrase), load_public_key(pair.public)
    signature = private.sign(b"data")

    assert public.verifies(signature, b"data")
    assert not public.verifies(signature, b"Data")
    assert not public.verifies(signature[:-1], b"data")
    assert not public.verifies(b"", b"data")
    assert not load_public_key(pair.other).verifies(signature, b"data")


def test_nothing_of_a_private_key_shows(tmp_path: Path) -> None:
    private = load_private_key(KeyPair.make(tmp_path).private, _no_passphrase)

    assert "PrivateKey object" in repr(private)
    assert "PRIVATE" not in str(vars(private))


@pytest.mark.parametrize("encrypt", [pkcs8, cosign_pem])
@pytest.mark.parametrize("passphrase", [b"hunter3", b""], ids=["another", "none"])
def test_a_wrong_passphrase(
    key: ec.EllipticCurvePrivateKey, tmp_path: Path, encrypt: object, passphrase: bytes
) -> None:
    path = tmp_path / "sign.key"
    path.write_bytes(encrypt(key, b"hunter2"))

    with pytest.raises(UsageError) as caught:
        load_private_key(path, lambda: passphrase)

    assert "wrong-passphrase" == caught.value.code
    assert "hunter" not in str(caught.value)


def _sealed(**changes: object) -> bytes:
    whole = {
        "kdf": {"name": "scrypt", "params": {"N": 16, "r": 8, "p": 1}, "salt": ""},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(bytes(24)).decode()},
        "ciphertext": base64.b64encode(bytes(64)).decode(),
    }
    text = base64.b64encode(json.dumps(whole | changes).encode())
    return (
        b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n%s\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
        % text
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n!\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
        _sealed(kdf={"name": "scrypt", "params": {"N": 1 << 40, "r": 8, "p": 1}, "salt": ""}),
        _sealed(kdf={"name": "scrypt", "params": {"N": -1, "r": 8, "p": 1}, "salt": ""}),
        _sealed(kdf={"name": "scrypt", "params": {"N": 3, "r": 8, "p": 1}, "salt": ""}),
        _sealed(kdf={"name": "md5", "params": {}, "salt": ""}),
        _sealed(kdf=None),
        _sealed(cipher={"name": "nacl/secretbox", "nonce": "AA=="}),
        _sealed(ciphertext=[]),
        _sealed(),
    ],
)
def test_files_that_are_no_keys(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "sign.key"
    path.write_bytes(data)

    with pytest.raises(UsageError) as private:
        load_private_key(path, lambda: b"secret")
    with pytest.raises(UsageError) as public:
        load_public_key(path)

    assert private.value.code in ("no-key", "wrong-passphrase")
    assert "no-key" == public.value.code


def test_there_is_no_such_file(tmp_path: Path) -> None:
    for load in (
        lambda: load_private_key(tmp_path / "x", _no_passphrase),
        lambda: load_public_key(tmp_path / "x"),
    ):
        with pytest.raises(UsageError) as caught:
            load()
        assert "no-key" == caught.value.code


@pytest.mark.parametrize(
    "other",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
)
def test_other_kinds_of_keys_are_refused(tmp_path: Path, other: ec.EllipticCurvePrivateKey) -> None:
    """Verifiers take other hashes with them, or none of them at all (docs/adr/0030-attestations.md)."""
    private, public = tmp_path / "sign.key", _public_file(other, tmp_path)
    private.write_bytes(pkcs8(other))

    for load in (lambda: load_private_key(private, _no_passphrase), lambda: load_public_key(public)):
        with pytest.raises(UsageError) as caught:
            load()
        assert "unsupported-key" == caught.value.code
