"""``envbuild sbom``, ``envbuild attest`` and ``envbuild verify --signature``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envbuild.attest.sbom import sbom
from envbuild.cli.main import run
from envbuild.image.model import Image
from envbuild.image.reference import parse_reference
from envbuild.lock.lockfile import dump_lock
from envbuild.progress import Silent
from envbuild.registry.push import push_images
from envbuild.registry.registries import Registries
from envbuild.store.images import record_image
from tests.inspection.conftest import LOCK, Studio
from tests.support.images import make_image
from tests.support.keys import KeyPair
from tests.support.registry import FakeRegistry, fake_registry

PLATFORM = "linux/amd64"
SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas.md"


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    from envbuild.store import Store

    store = Store(tmp_path / "cache")
    store.prepare()
    return Studio(store)


@pytest.fixture
def image(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    """The image of a lock, in the cache as ``demo``, with the lock beside it."""
    monkeypatch.setattr("envbuild.inspection.inspector.host_platform", lambda: PLATFORM)
    monkeypatch.chdir(tmp_path)
    made = studio.image()
    record_image(studio.store, "demo:latest", PLATFORM, made.manifest)
    (tmp_path / "envbuild.lock").write_bytes(dump_lock(LOCK))
    return made


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as made:
        yield made


@pytest.fixture
def pair(tmp_path: Path) -> KeyPair:
    return KeyPair.make(tmp_path)


def push(studio: Studio, image: Image, registry: FakeRegistry, *tags: str) -> str:
    """The name of ``image`` in ``registry``, under the first of ``tags``."""
    names = [f"{registry.address}/team/demo:{tag}" for tag in tags or ("1",)]
    with Registries({}) as registries:
        references = [parse_reference(name) for name in names]
        push_images([image], references, store=studio.store, registries=registries, reporter=Silent())
    return names[0]


def document(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 0) -> dict[str, Any]:
    assert code == run([*map(str, arguments), "--json"]), capsys.readouterr()
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def test_the_bill_of_an_image_is_that_which_is_attached(
    studio: Studio, image: Image, registry: FakeRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    name = push(studio, image, registry)
    expected = sbom(LOCK, dump_lock(LOCK), PLATFORM, image)

    shown = {}
    for what in (name, "demo"):
        assert 0 == run(["sbom", what, "--quiet"])
        shown[what] = capsys.readouterr().out.encode()
    attached = document(capsys, "attest", name, "--sbom")["attached"]

    assert {name: expected, "demo": expected} == shown
    held = registry.repository("team/demo")
    (manifest,) = (held.manifests[one["digest"]] for one in attached)
    assert expected == held.blobs[json.loads(manifest.data)["layers"][0]["digest"]]


@pytest.mark.parametrize("what", [[], ["."], ["envbuild.lock"]])
def test_the_bill_of_a_lock_has_no_layers(
    image: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: list[str]
) -> None:
    assert 0 == run(["sbom", *what, "-o", "demo.cdx.json", "--quiet"])

    assert "" == capsys.readouterr().out
    assert sbom(LOCK, dump_lock(LOCK), PLATFORM) == (tmp_path / "demo.cdx.json").read_bytes()


def test_an_image_is_signed_and_the_signature_found(
    studio: Studio,
    image: Image,
    registry: FakeRegistry,
    pair: KeyPair,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = push(studio, image, registry)

    attested = document(capsys, "attest", name, "--sbom", "--sign", pair.private)
    found = document(capsys, "verify", "--image", name, "--key", pair.public, "--signature")

    assert (name, image.manifest.digest) == (attested["image"], attested["digest"])
    assert ["sbom", "signature"] == [one["kind"] for one in attested["attached"]]
    assert {
        "digest": image.manifest.digest,
        "names": [name],
        "statements": ["https://cyclonedx.org/bom"],
    } == found["signature"]
    assert found["proven"] is None, "nothing was built"


def test_another_key_and_another_image_are_errors(
    studio: Studio,
    image: Image,
    registry: FakeRegistry,
    pair: KeyPair,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = push(studio, image, registry)
    document(capsys, "attest", name, "--sign", pair.private)
    check = ("verify", "--image", name, "--signature", "--key")

    assert "not-signed" == document(capsys, *check, pair.other, code=4)["error"]

    other = studio.image(compression="gzip")
    assert name == push(studio, other, registry), "somebody moves the tag"
    assert "not-signed" == document(capsys, *check, pair.public, code=4)["error"]


def test_a_tag_that_was_moved_to_another_signed_image_is_noticed(
    studio: Studio,
    image: Image,
    registry: FakeRegistry,
    pair: KeyPair,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old = push(studio, image, registry, "1")
    document(capsys, "attest", old, "--sign", pair.private)
    new = push(studio, image, registry, "2")

    assert 0 == run(["verify", "--image", new, "--key", str(pair.public), "--signature"])

    assert f"it is signed as {old}, not as {new}" in capsys.readouterr().err


def test_images_that_envbuild_did_not_make_can_be_signed(
    studio: Studio, registry: FakeRegistry, pair: KeyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    name = push(studio, make_image(studio.store, [[]]), registry)

    assert ["signature"] == [
        one["kind"] for one in document(capsys, "attest", name, "--sign", pair.private)["attached"]
    ]
    assert "bad-lock-inside" == document(capsys, "attest", name, "--sbom", code=1)["error"]


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("attest", "demo", "--sbom"), 2, "not-in-registry"),
        (("attest", "envbuild.lock", "--sbom"), 2, "not-an-image"),
        (("attest", "demo"), 2, "nothing-to-attest"),
        (("attest", "demo", "--sign", "missing.key"), 2, "no-key"),
        (("sbom", "missing.lock"), 2, "no-lock-there"),
        (("sbom", "envbuild.lock", "--platform", "linux/s390x"), 2, "no-such-platform"),
        (("sbom", "--platform", "linux/amd64", "--platform", "linux/arm64"), 2, "usage"),
        (("sbom", "-o", "/dev/null/x.json"), 3, "not-writable"),
        (("verify", "--signature", "--image", "demo"), 2, "usage"),
        (("verify", "--key", "envbuild.lock"), 2, "usage"),
        (("verify", "--key", "envbuild.lock", "--image", "demo"), 2, "no-key"),
    ],
)
def test_errors(
    image: Image, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, error: str
) -> None:
    assert error == document(capsys, *arguments, code=code)["error"]


def test_a_passphrase_comes_from_the_environment(
    studio: Studio,
    image: Image,
    registry: FakeRegistry,
    pair: KeyPair,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from tests.support.keys import pkcs8

    key: Any = load_pem_private_key(pair.private.read_bytes(), None)
    pair.private.write_bytes(pkcs8(key, b"hunter2"))
    name = push(studio, image, registry)

    monkeypatch.setenv("ENVBUILD_SIGN_KEY", str(pair.private))
    monkeypatch.setenv("ENVBUILD_SIGN_PASSPHRASE", "hunter3")
    assert "wrong-passphrase" == document(capsys, "attest", name, code=2)["error"]

    monkeypatch.setenv("ENVBUILD_SIGN_PASSPHRASE", "hunter2")
    assert 1 == len(document(capsys, "attest", name)["attached"])

    monkeypatch.delenv("ENVBUILD_SIGN_PASSPHRASE")
    monkeypatch.setenv("COSIGN_PASSWORD", "hunter2")
    assert 1 == len(document(capsys, "attest", name)["attached"])


@pytest.mark.parametrize("verb", ["sbom", "attest"])
def test_every_key_is_described(
    studio: Studio,
    image: Image,
    registry: FakeRegistry,
    pair: KeyPair,
    capsys: pytest.CaptureFixture[str],
    verb: str,
) -> None:
    name = push(studio, image, registry)
    section = SCHEMAS.read_text("utf-8").partition(f"\n## {verb}\n")[2].partition("\n## ")[0]
    described = set(re.findall(r"`([a-z_]+)(?:\[\])?`", section))

    shown = document(capsys, verb, name, *(("--sign", pair.private) if verb == "attest" else ()))

    assert shown.keys() <= described
    assert {key for one in shown.get("attached", ()) for key in one} <= described
