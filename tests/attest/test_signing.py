"""Signatures of images and of statements about them, as others read them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from envbuild.attest.keys import PrivateKey, PublicKey, load_private_key, load_public_key
from envbuild.attest.signed import image_payload, open_envelope, sbom_statement, seal, statement_claim
from envbuild.attest.signing import require_signature, sign_image, sign_statement, verified
from envbuild.errors import RemoteError
from envbuild.registry import tag_update
from envbuild.registry.registries import Registries
from envbuild.registry.repository import Repository
from envbuild.registry.retry import Retries
from tests.support.keys import KeyPair
from tests.support.registry import FakeRegistry, fake_registry, faults

DIGEST = "sha256:" + "ab" * 32
SIGNATURES, STATEMENTS = f"sha256-{'ab' * 32}.sig", f"sha256-{'ab' * 32}.att"
SIGNATURE = "dev.cosignproject.cosign/signature"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return KeyPair.make(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def key(pair: KeyPair) -> PrivateKey:
    return load_private_key(pair.private, lambda: b"")


@pytest.fixture(scope="module")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> PrivateKey:
    return load_private_key(KeyPair.make(tmp_path_factory.mktemp("other")).private, lambda: b"")


@pytest.fixture(scope="module")
def public(pair: KeyPair) -> PublicKey:
    return load_public_key(pair.public)


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tag_update.time, "sleep", lambda seconds: None)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as made:
        yield made


@pytest.fixture
def repository(registry: FakeRegistry) -> Iterator[Repository]:
    with Registries({}, retries=Retries(first_pause=0.0)) as registries:
        yield registries.repository(f"{registry.address}/team/demo")


def _manifest(registry: FakeRegistry, tag: str) -> dict[str, Any]:
    held = registry.repository("team/demo")
    manifest: dict[str, Any] = json.loads(held.manifests[held.tags[tag]].data)
    return manifest


def _statement(kind: str = "https://example.org/kind", digest: str = DIGEST, note: str = "") -> bytes:
    subject = {"name": "demo", "digest": {"sha256": digest[7:]}}
    return json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [subject],
            "predicateType": kind,
            "predicate": {"note": note},
        }
    ).encode()


def test_the_payload_is_that_of_the_specification() -> None:
    """containers-signature(5), with the type that cosign's SIGNATURE_SPEC.md gives it."""
    assert {
        "critical": {
            "identity": {"docker-reference": "registry.example.org/team/demo:1"},
            "image": {"docker-manifest-digest": DIGEST},
            "type": "cosign container image signature",
        },
        "optional": {"creator": "envbuild"},
    } == json.loads(image_payload("registry.example.org/team/demo:1", DIGEST))


def test_a_signature_is_where_cosign_looks(
    registry: FakeRegistry, repository: Repository, key: PrivateKey, public: PublicKey
) -> None:
    sign_image(repository, DIGEST, [f"{repository.name}:1"], key)

    manifest = _manifest(registry, SIGNATURES)
    (layer,) = manifest["layers"]
    payload = registry.blobs[layer["digest"]]
    assert image_payload(f"{repository.name}:1", DIGEST) == payload
    assert ("application/vnd.dev.cosign.simplesigning.v1+json", len(payload)) == (
        layer["mediaType"],
        layer["size"],
    )
    assert public.verifies(base64.b64decode(layer["annotations"][SIGNATURE]), payload)
    config = json.loads(registry.blobs[manifest["config"]["digest"]])
    assert ["sha256:" + hashlib.sha256(payload).hexdigest()] == config["rootfs"]["diff_ids"]
    assert "application/vnd.oci.image.manifest.v1+json" == manifest["mediaType"]


def test_who_has_the_public_key_finds_the_names(
    repository: Repository, key: PrivateKey, public: PublicKey, other_key: PrivateKey
) -> None:
    names = [f"{repository.name}:{tag}" for tag in ("1", "1.0")]

    sign_image(repository, DIGEST, names, key)

    assert tuple(names) == verified(repository, DIGEST, public).names
    assert () == verified(repository, DIGEST, other_key.public).names
    assert () == verified(repository, "sha256:" + "cd" * 32, public).names


def test_signing_again_changes_nothing_and_signatures_of_others_stay(
    registry: FakeRegistry, repository: Repository, key: PrivateKey, other_key: PrivateKey
) -> None:
    sign_image(repository, DIGEST, [f"{repository.name}:1"], other_key)
    sign_image(repository, DIGEST, [f"{repository.name}:1"], key)
    before = _manifest(registry, SIGNATURES)

    sign_image(repository, DIGEST, [f"{repository.name}:1"], key)

    assert before == _manifest(registry, SIGNATURES)
    assert 2 == len(before["layers"])
    for one in (key, other_key):
        assert (f"{repository.name}:1",) == require_signature(repository, DIGEST, one.public).names


def test_an_image_without_a_signature_is_an_error(repository: Repository, public: PublicKey) -> None:
    with pytest.raises(RemoteError) as caught:
        require_signature(repository, DIGEST, public)

    assert ("not-signed", 4) == (caught.value.code, caught.value.exit_code)
    assert public.fingerprint in str(caught.value)


def _replaced_layer(registry: FakeRegistry, **changes: Any) -> None:
    """Put a manifest with a changed layer where the signatures are."""
    manifest = _manifest(registry, SIGNATURES)
    manifest["layers"][0] |= changes
    registry.put_manifest("team/demo", manifest, SIGNATURES)


def test_tampering_is_noticed(registry: FakeRegistry, repository: Repository, key: PrivateKey) -> None:
    """Another payload with the old signature, the signature of another image, and no signature."""
    public = key.public
    sign_image(repository, DIGEST, [f"{repository.name}:1"], key)
    original = _manifest(registry, SIGNATURES)["layers"][0]
    elsewhere = "sha256:" + "cd" * 32

    forged = image_payload(f"{repository.name}:1", elsewhere)
    digest = registry.put_blob("team/demo", forged)
    _replaced_layer(registry, digest=digest, size=len(forged))
    manifest = _manifest(registry, SIGNATURES)
    registry.put_manifest("team/demo", manifest, f"sha256-{'cd' * 32}.sig")
    assert () == verified(repository, elsewhere, public).names
    assert () == verified(repository, DIGEST, public).names

    _replaced_layer(registry, **original)
    assert () != verified(repository, DIGEST, public).names
    manifest = _manifest(registry, SIGNATURES)
    registry.put_manifest("team/demo", manifest, f"sha256-{'cd' * 32}.sig")
    assert () == verified(repository, elsewhere, public).names, "it is a good signature, of something else"

    for signature in ("", "!", "AAAA", base64.b64encode(key.sign(b"x")).decode()):
        _replaced_layer(registry, annotations={SIGNATURE: signature})
        assert () == verified(repository, DIGEST, public).names
    _replaced_layer(registry, annotations={})
    assert () == verified(repository, DIGEST, public).names


@pytest.mark.parametrize(
    "manifest",
    [
        {"layers": "none"},
        {"layers": [{"digest": "sha256:x"}]},
        {"layers": [{"digest": DIGEST, "mediaType": "x", "size": 1 << 40}]},
        {"layers": [{"digest": DIGEST, "mediaType": "x", "size": 1}] * 1000},
    ],
)
def test_something_else_at_the_place_of_signatures_is_named(
    registry: FakeRegistry, repository: Repository, key: PrivateKey, manifest: dict[str, Any]
) -> None:
    media_type = "application/vnd.oci.image.manifest.v1+json"
    data = json.dumps({"mediaType": media_type, "schemaVersion": 2, **manifest}).encode()
    registry.fail(faults.swapped(data, media_type), kind="get-manifest", times=None)

    for act in (
        lambda: verified(repository, DIGEST, key.public),
        lambda: sign_image(repository, DIGEST, [f"{repository.name}:1"], key),
    ):
        with pytest.raises(RemoteError) as caught:
            act()
        assert "bad-signatures" == caught.value.code


def test_envelopes_are_those_of_dsse(pair: KeyPair, key: PrivateKey) -> None:
    """Verified by securesystemslib, which reads and checks them by itself."""
    theirs = SSlibKey.from_crypto(load_pem_public_key(pair.public.read_bytes()))
    other = SSlibKey.from_crypto(load_pem_public_key(pair.other.read_bytes()))

    envelope = Envelope.from_dict(json.loads(seal(_statement(), key)))

    assert ("application/vnd.in-toto+json", _statement()) == (envelope.payload_type, envelope.payload)
    # An envelope does not have to say which key it is of; this library wants to know.
    (signature,) = envelope.signatures.values()
    for candidate, good in ((theirs, True), (other, False)):
        signature.keyid = candidate.keyid
        envelope.signatures = {candidate.keyid: signature}
        if good:
            assert {candidate.keyid} == set(envelope.verify([candidate], 1))
        else:
            with pytest.raises(VerificationError):
                envelope.verify([candidate], 1)


def test_an_envelope_opens_with_its_key_alone(key: PrivateKey, other_key: PrivateKey) -> None:
    sealed = seal(_statement(), key)

    assert _statement() == open_envelope(sealed, key.public)
    assert open_envelope(sealed, other_key.public) is None


@pytest.mark.parametrize(
    "change",
    [
        {"payload": base64.b64encode(_statement(note="changed")).decode()},
        {"payloadType": "text/plain"},
        {"payload": "%"},
        {"payload": 7},
        {"signatures": []},
        {"signatures": [None]},
        {"signatures": [{"sig": "%"}]},
        {"signatures": {}},
    ],
)
def test_changed_envelopes_do_not_open(key: PrivateKey, change: dict[str, Any]) -> None:
    changed = json.loads(seal(_statement(), key)) | change

    assert open_envelope(json.dumps(changed).encode(), key.public) is None
    assert open_envelope(b"[" * 100_000, key.public) is None


def test_statements_are_where_cosign_looks(
    registry: FakeRegistry, repository: Repository, key: PrivateKey, public: PublicKey
) -> None:
    sign_statement(repository, DIGEST, _statement(), key)

    (layer,) = _manifest(registry, STATEMENTS)["layers"]
    assert "application/vnd.dsse.envelope.v1+json" == layer["mediaType"]
    assert {SIGNATURE: "", "predicateType": "https://example.org/kind"} == layer["annotations"]
    assert _statement() == open_envelope(registry.blobs[layer["digest"]], public)
    assert ("https://example.org/kind",) == verified(repository, DIGEST, public).statements


def test_a_statement_replaces_one_of_its_kind_by_the_same_key(
    registry: FakeRegistry, repository: Repository, key: PrivateKey, other_key: PrivateKey
) -> None:
    sign_statement(repository, DIGEST, _statement(note="old"), other_key)
    sign_statement(repository, DIGEST, _statement("https://example.org/other"), key)
    sign_statement(repository, DIGEST, _statement(note="old"), key)

    sign_statement(repository, DIGEST, _statement(note="new"), key)

    layers = _manifest(registry, STATEMENTS)["layers"]
    envelopes = [registry.blobs[layer["digest"]] for layer in layers]
    ours = {open_envelope(envelope, key.public) for envelope in envelopes} - {None}
    assert {_statement("https://example.org/other"), _statement(note="new")} == ours
    assert [_statement(note="old")] == [
        found for envelope in envelopes if (found := open_envelope(envelope, other_key.public))
    ]
    before = _manifest(registry, STATEMENTS)
    sign_statement(repository, DIGEST, _statement(note="new"), key)
    assert before == _manifest(registry, STATEMENTS)


def test_a_statement_about_something_else_does_not_count(repository: Repository, key: PrivateKey) -> None:
    sign_statement(repository, DIGEST, _statement(digest="sha256:" + "cd" * 32), key)

    assert () == verified(repository, DIGEST, key.public).statements


def test_a_bill_of_materials_becomes_a_statement() -> None:
    statement = sbom_statement("pkg:oci/demo", DIGEST, b'{"bomFormat": "CycloneDX"}')

    claim = statement_claim(statement)

    assert claim is not None
    assert ("https://cyclonedx.org/bom", {DIGEST}) == (claim.predicate_type, claim.digests)
    assert {"bomFormat": "CycloneDX"} == json.loads(statement)["predicate"]


@pytest.mark.parametrize("statement", [b"", b"[]", b"{}", b'{"subject": [], "predicateType": 1}', b"\xff"])
def test_what_is_no_statement_claims_nothing(statement: bytes) -> None:
    assert statement_claim(statement) is None
