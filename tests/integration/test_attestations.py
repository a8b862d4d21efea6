"""What is attached to an image and signed, as others read and verify it.

cosign and skopeo are those of Debian 13: the ones of Debian 12 are not there, or verify nothing.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance

from tests.support.debian_programs import debian_program
from tests.support.keys import KeyPair
from tests.support.programs import Envbuild, output_of, require
from tests.support.servers import docker_registry

pytestmark = [pytest.mark.network, pytest.mark.slow]

CYCLONEDX, IN_TOTO = "application/vnd.cyclonedx+json", "application/vnd.in-toto+json"
PLATFORMS = ("--platform", "linux/amd64", "--platform", "linux/arm64")


@dataclass(frozen=True, slots=True)
class Pushed:
    """Signed images of two platforms in a registry that keeps no lists of referrers."""

    name: str
    registry: str
    keys: KeyPair
    document: dict[str, Any]
    directory: Path

    @property
    def repository(self) -> str:
        return self.name.rpartition(":")[0]


@pytest.fixture(scope="module")
def cosign(scratch: Path) -> tuple[str, ...]:
    return debian_program("cosign", "trixie", scratch / "cosign", "libc6")


@pytest.fixture(scope="module")
def skopeo(scratch: Path) -> tuple[str, ...]:
    libraries = ("libc6", "libgcc-s1", "libgpgme11t64", "libassuan9", "libgpg-error0", "libsqlite3-0")
    return debian_program("skopeo", "trixie", scratch / "skopeo", *libraries)


@pytest.fixture(scope="module")
def pushed(envbuild: Envbuild, quickstart: Path, scratch: Path) -> Any:
    require("docker-registry", "skopeo", "openssl")
    directory = scratch / "attested"
    directory.mkdir()
    keys = KeyPair.make(directory)
    with docker_registry() as registry:
        name = f"{registry}/team/demo:1"
        arguments = ("build", quickstart, "--locked", *PLATFORMS, "--push", "-t", name)
        attest = ("--sbom", "--provenance", "--sign", keys.private)
        yield Pushed(name, registry, keys, envbuild.document(*arguments, *attest), directory)


def _raw(reference: str) -> dict[str, Any]:
    """A manifest as Debian 12's skopeo fetches it."""
    value: dict[str, Any] = json.loads(
        output_of("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{reference}")
    )
    return value


def _documents(pushed: Pushed, digest: str) -> dict[str, bytes]:
    """What is attached to ``digest``, by type: found by the list under the tag, fetched by skopeo."""
    found = {}
    for entry in _raw(f"{pushed.repository}:{digest.replace(':', '-')}")["manifests"]:
        manifest = _raw(f"{pushed.repository}@{entry['digest']}")
        assert digest == manifest["subject"]["digest"]
        place = pushed.directory / entry["digest"][7:]
        source = f"docker://{pushed.repository}@{entry['digest']}"
        output_of("skopeo", "copy", "--src-tls-verify=false", source, f"dir:{place}")
        (layer,) = manifest["layers"]
        found[entry["artifactType"]] = (place / layer["digest"][7:]).read_bytes()
    return found


def _run(*command: str | Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )


def _verify(cosign: Sequence[str], key: Path, name: str, *verb: str) -> subprocess.CompletedProcess[str]:
    flags = ("--insecure-ignore-tlog", "--allow-http-registry", "--key", str(key))
    return _run(*cosign, *(verb or ("verify",)), *flags, name)


def test_documents_are_valid_and_about_the_image(pushed: Pushed) -> None:
    images = pushed.document["platforms"]
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    statements = set()
    for platform, image in images.items():
        documents = _documents(pushed, image["digest"])
        assert {CYCLONEDX, IN_TOTO} == documents.keys()

        assert validator.validate_str(documents[CYCLONEDX].decode()) is None
        bill = json.loads(documents[CYCLONEDX])
        assert image["digest"] == bill["metadata"]["component"]["version"]
        layers = {layer["digest"]: layer["packages"] for layer in image["layers"]}
        for component in bill["components"]:
            if component["type"] == "library":
                told = {entry["name"]: entry["value"] for entry in component["properties"]}
                packages = layers[told["envbuild:layer:digest"]]
                assert f"{component['name']}=={component['version']}" in packages, platform
        statements.add(documents[IN_TOTO])

    (statement,) = (json.loads(data) for data in statements)
    assert {IN_TOTO} == _documents(pushed, pushed.document["digest"]).keys(), "the index has no packages"
    digests = {pushed.document["digest"], *(image["digest"] for image in images.values())}
    assert digests == {f"sha256:{subject['digest']['sha256']}" for subject in statement["subject"]}
    json_format.Parse(json.dumps(statement["predicate"]), Provenance())


def test_a_second_machine_attaches_the_same_bytes(
    pushed: Pushed, envbuild: Envbuild, quickstart: Path
) -> None:
    """Another directory, time zone, locale and number of jobs."""
    name = f"{pushed.registry}/team/again:1"
    elsewhere = Envbuild(
        envbuild.cache, environment={"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    )
    built = elsewhere.document(
        *("build", quickstart, "--locked", *PLATFORMS, "--push", "-t", name, "--sbom", "--provenance"),
        *("-j", "1"),
    )

    again = Pushed(name, pushed.registry, pushed.keys, built, pushed.directory)
    for image in pushed.document["platforms"].values():
        assert _documents(pushed, image["digest"]) == _documents(again, image["digest"])


def test_the_bill_that_is_printed_is_the_attached_one(pushed: Pushed, envbuild: Envbuild) -> None:
    for platform, image in pushed.document["platforms"].items():
        printed = envbuild.run("sbom", pushed.name, "--platform", platform, "--quiet")

        assert _documents(pushed, image["digest"])[CYCLONEDX].decode() == printed.stdout


def test_cosign_verifies_the_images_and_the_index(pushed: Pushed, cosign: tuple[str, ...]) -> None:
    digests = [pushed.document["digest"], *(one["digest"] for one in pushed.document["platforms"].values())]
    for name in (pushed.name, *(f"{pushed.repository}@{digest}" for digest in digests)):
        good = _verify(cosign, pushed.keys.public, name)
        assert 0 == good.returncode, good.stderr
        assert 0 != _verify(cosign, pushed.keys.other, name).returncode


def test_cosign_verifies_the_documents(pushed: Pushed, cosign: tuple[str, ...]) -> None:
    name = f"{pushed.repository}@{pushed.document['platforms']['linux/amd64']['digest']}"
    documents = _documents(pushed, pushed.document["platforms"]["linux/amd64"]["digest"])
    for kind, artifact_type in (("cyclonedx", CYCLONEDX), ("slsaprovenance1", IN_TOTO)):
        good = _verify(cosign, pushed.keys.public, name, "verify-attestation", "--type", kind)
        assert 0 == good.returncode, good.stderr
        statement = json.loads(base64.b64decode(json.loads(good.stdout)["payload"]))
        plain = json.loads(documents[artifact_type])
        assert plain in (statement, statement["predicate"])

        other = _verify(cosign, pushed.keys.other, name, "verify-attestation", "--type", kind)
        assert 0 != other.returncode


def test_openssl_verifies_the_signature_of_the_payload(pushed: Pushed) -> None:
    """Nothing but the bytes in the registry, the public key and OpenSSL."""
    digest = pushed.document["digest"]
    reference = f"{pushed.repository}:{digest.replace(':', '-')}.sig"
    (layer,) = _raw(reference)["layers"]
    place = pushed.directory / "signature"
    output_of("skopeo", "copy", "--src-tls-verify=false", f"docker://{reference}", f"dir:{place}")
    payload, signature = place / layer["digest"][7:], pushed.directory / "signature.der"
    signature.write_bytes(base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"]))

    verify = ("openssl", "dgst", "-sha256", "-verify", pushed.keys.public, "-signature", signature)
    assert "Verified OK" in output_of(*verify, payload)
    assert digest == json.loads(payload.read_bytes())["critical"]["image"]["docker-manifest-digest"]
    payload.write_bytes(payload.read_bytes().replace(b"sha256:", b"sha512:"))
    assert 0 != _run(*verify, payload).returncode


def test_skopeo_takes_only_what_the_policy_of_podman_allows(
    pushed: Pushed, skopeo: tuple[str, ...], scratch: Path
) -> None:
    """The policy as docs/attestations.md has it: skopeo, podman and CRI-O share what reads it."""
    settings = scratch / "policy"
    (settings / "registries.d").mkdir(parents=True)
    (settings / "registries.d" / "all.yaml").write_text("default-docker: {use-sigstore-attachments: true}\n")

    def copy(key: Path, name: str) -> subprocess.CompletedProcess[str]:
        rule = {"type": "sigstoreSigned", "keyPath": str(key)}
        policy = {"default": [{"type": "reject"}], "transports": {"docker": {pushed.registry: [rule]}}}
        (settings / "policy.json").write_text(json.dumps(policy))
        return _run(
            *(*skopeo, "--policy", settings / "policy.json", "--registries.d", settings / "registries.d"),
            *("--override-os", "linux", "--override-arch", "amd64"),
            *("copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{settings / 'image'}"),
        )

    good = copy(pushed.keys.public, pushed.name)
    assert 0 == good.returncode, good.stderr
    assert "rejected" in copy(pushed.keys.other, pushed.name).stderr
    renamed = f"{pushed.repository}:other"
    source, target = f"docker://{pushed.name}", f"docker://{renamed}"
    output_of("skopeo", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", source, target)
    assert "rejected" in copy(pushed.keys.public, renamed).stderr, "it was never signed under this name"


def test_what_cosign_signs_is_verified_here(
    pushed: Pushed, envbuild: Envbuild, cosign: tuple[str, ...], scratch: Path
) -> None:
    """With a key that cosign has made; and that key signs here, too."""
    secret = {"COSIGN_PASSWORD": "hunter2", "HOME": str(scratch)}
    prefix = scratch / "cosign-made"
    assert (
        0 == _run(*cosign, "generate-key-pair", "--output-key-prefix", prefix, environment=secret).returncode
    )
    private, public = prefix.with_suffix(".key"), prefix.with_suffix(".pub")
    name = f"{pushed.repository}@{pushed.document['digest']}"
    check = ("verify", "--image", name, "--key", public, "--signature")
    assert "not-signed" in envbuild.run(*check, "--json").stdout

    flags = ("--key", private, "--tlog-upload=false", "--allow-http-registry", "--yes")
    signed = _run(*cosign, "sign", *flags, name, environment=secret)
    assert 0 == signed.returncode, signed.stderr
    assert [pushed.repository] == envbuild.document(*check)["signature"]["names"]
    assert 0 == _verify(cosign, pushed.keys.public, pushed.name).returncode, "ours is still there"

    ours = Envbuild(envbuild.cache, environment=secret)
    ours.document("attest", pushed.name, "--sign", private)
    assert pushed.name in envbuild.document(*check)["signature"]["names"]
    assert 0 == _verify(cosign, public, pushed.name).returncode


def test_an_image_that_was_tampered_with_is_refused(
    pushed: Pushed, envbuild: Envbuild, cosign: tuple[str, ...], scratch: Path
) -> None:
    """Somebody who can push puts another image under the name, and the old signature beside it."""
    image = pushed.document["platforms"]["linux/amd64"]["digest"]
    place = scratch / "tampered"
    source = f"docker://{pushed.repository}@{image}"
    output_of("skopeo", "copy", "--src-tls-verify=false", source, f"dir:{place}")
    manifest = json.loads((place / "manifest.json").read_bytes())
    manifest["annotations"]["org.example"] = "tampered"
    (place / "manifest.json").write_text(json.dumps(manifest))
    name = f"{pushed.registry}/team/tampered:1"
    output_of("skopeo", "copy", "--dest-tls-verify=false", f"dir:{place}", f"docker://{name}")
    tampered = json.loads(output_of("skopeo", "inspect", "--tls-verify=false", f"docker://{name}"))["Digest"]
    for suffix in ("sig", "att"):
        old = f"docker://{pushed.repository}:{image.replace(':', '-')}.{suffix}"
        new = f"docker://{pushed.registry}/team/tampered:{tampered.replace(':', '-')}.{suffix}"
        output_of("skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", old, new)

    assert tampered != image
    done = envbuild.run("verify", "--image", name, "--key", pushed.keys.public, "--signature", "--json")
    assert (4, "not-signed") == (done.returncode, json.loads(done.stdout)["error"])
    assert 0 != _verify(cosign, pushed.keys.public, name).returncode


def test_the_key_is_nowhere(pushed: Pushed, envbuild: Envbuild) -> None:
    """Neither in what was printed nor in the cache."""
    # Not the first line: how it begins, all keys of this kind have in common.
    secret = pushed.keys.private.read_text().splitlines()[2]
    assert len(secret) > 40

    assert secret not in json.dumps(pushed.document)
    places = [path for path in envbuild.cache.rglob("*") if path.is_file() and path.stat().st_size < 1 << 20]
    assert [] == [path for path in places if secret.encode() in path.read_bytes()]
