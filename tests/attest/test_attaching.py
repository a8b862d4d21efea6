"""Documents and signatures on their way to where images are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from envbuild.attest.attaching import Attached, Attestation, Subject
from envbuild.attest.keys import PrivateKey, load_private_key
from envbuild.attest.provenance import provenance
from envbuild.attest.sbom import sbom
from envbuild.attest.signed import open_envelope, sbom_statement
from envbuild.attest.signing import verified
from envbuild.errors import RemoteError
from envbuild.image.descriptor import Descriptor
from envbuild.image.model import Image
from envbuild.image.reference import Reference, parse_reference
from envbuild.lock.lockfile import dump_lock
from envbuild.lock.model import Lock
from envbuild.progress import Silent
from envbuild.registry.push import Pushed, push_images
from envbuild.registry.registries import Registries
from envbuild.registry.repository import Repository
from envbuild.registry.retry import Retries
from envbuild.registry.signatures import signed_things
from envbuild.store import Store
from tests.support.builds import Machine, lock_of, use_this_python
from tests.support.index import make_wheel
from tests.support.keys import KeyPair
from tests.support.locks import PLATFORM
from tests.support.registry import FakeRegistry, fake_registry, faults

CYCLONEDX, IN_TOTO = "application/vnd.cyclonedx+json", "application/vnd.in-toto+json"
EVERYTHING = Attestation(sbom=True, provenance=True)
WHEEL = make_wheel("alpha", "1.0")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> PrivateKey:
    return load_private_key(KeyPair.make(tmp_path_factory.mktemp("keys")).private, lambda: b"")


@pytest.fixture(scope="module")
def lock() -> Lock:
    return lock_of(WHEEL)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, lock: Lock) -> Iterator[Machine]:
    """A machine that has built the image of ``lock``: building it again takes no time."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_this_python(monkeypatch)
        made = Machine(tmp_path_factory.mktemp("machine") / "cache")
        made.give_all(lock, WHEEL)
        made.build(lock)
        yield made


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as made:
        yield made


@pytest.fixture
def registries() -> Iterator[Registries]:
    with Registries({}, retries=Retries(first_pause=0.0)) as made:
        yield made


def _built(machine: Machine, lock: Lock) -> Subject:
    return Subject(lock, dump_lock(lock), [machine.build(lock)], "zstd")


def _push(
    attestation: Attestation,
    subject: Subject | None,
    images: list[Image],
    names: list[str],
    store: Store,
    registries: Registries,
) -> tuple[Pushed, list[Attached]]:
    attached: list[Attached] = []
    references = [parse_reference(name) for name in names]

    def attach(repository: Repository, manifests: list[Descriptor]) -> None:
        attached.extend(attestation.attach(repository, references, manifests, subject))

    push = partial(push_images, store=store, registries=registries, reporter=Silent())
    return push(images, references, attach=attach), attached


def _documents(registry: FakeRegistry, name: str = "team/demo") -> dict[tuple[str, str], bytes]:
    """Everything that is attached: by subject and type."""
    held = registry.repository(name)
    found = {}
    for manifest in held.manifests.values():
        value = json.loads(manifest.data)
        if "subject" in value:
            data = held.blobs[value["layers"][0]["digest"]]
            found[value["subject"]["digest"], value["artifactType"]] = data
    return found


def test_an_image_gets_what_was_asked_for(
    machine: Machine, lock: Lock, registry: FakeRegistry, registries: Registries
) -> None:
    subject = _built(machine, lock)
    (image,) = subject.images

    pushed, attached = _push(
        EVERYTHING, subject, [image], [f"{registry.address}/team/demo:1"], machine.store, registries
    )

    assert {
        (image.manifest.digest, CYCLONEDX): sbom(lock, dump_lock(lock), PLATFORM, image),
        (image.manifest.digest, IN_TOTO): provenance(lock, dump_lock(lock), [image], compression="zstd"),
    } == _documents(registry)
    repository = registries.repository(f"{registry.address}/team/demo")
    listed = {one.digest: one.artifact_type for one in repository.referrers(pushed.top.digest)}
    assert {(one.kind, one.digest) for one in attached} == {
        ({CYCLONEDX: "sbom", IN_TOTO: "provenance"}[kind or ""], digest) for digest, kind in listed.items()
    }
    assert ["1"] == list(registry.repository("team/demo").tags)


def test_every_component_is_in_the_layer_that_has_it(machine: Machine, lock: Lock) -> None:
    """On an image that was really built, not an example: its layers have the keys of the plan."""
    subject = _built(machine, lock)
    (image,) = subject.images

    document = json.loads(sbom(lock, dump_lock(lock), PLATFORM, image))

    layers = {layer.digest: layer.packages for layer in image.layers}
    for component in document["components"]:
        if component["type"] == "library":
            (digest,) = (
                entry["value"]
                for entry in component["properties"]
                if entry["name"] == "envbuild:layer:digest"
            )
            assert f"{component['name']}=={component['version']}" in layers[digest]


def test_two_machines_say_the_same(
    tmp_path: Path, machine: Machine, lock: Lock, registry: FakeRegistry, registries: Registries
) -> None:
    other = Machine(tmp_path / "elsewhere" / "cache")
    other.give_all(lock, WHEEL)
    for number, one in enumerate((machine, other)):
        subject = _built(one, lock)
        name = f"{registry.address}/team/demo-{number}:1"
        _push(EVERYTHING, subject, list(subject.images), [name], one.store, registries)

    assert _documents(registry, "team/demo-0") == _documents(registry, "team/demo-1")
    assert 2 == len(_documents(registry, "team/demo-0"))


def test_pushing_again_adds_nothing(
    machine: Machine, lock: Lock, registry: FakeRegistry, registries: Registries, key: PrivateKey
) -> None:
    subject = _built(machine, lock)
    everything = replace(EVERYTHING, key=key)
    names = [f"{registry.address}/team/demo:1"]
    _push(everything, subject, list(subject.images), names, machine.store, registries)
    held = registry.repository("team/demo")
    before = (dict(held.tags), set(held.manifests), set(held.blobs))

    _push(everything, subject, list(subject.images), names, machine.store, registries)

    held = registry.repository("team/demo")
    assert before == (dict(held.tags), set(held.manifests), set(held.blobs))


def test_with_a_key_images_and_documents_are_signed(
    machine: Machine, lock: Lock, registry: FakeRegistry, registries: Registries, key: PrivateKey
) -> None:
    subject = _built(machine, lock)
    (image,) = subject.images
    names = [f"{registry.address}/team/demo:{tag}" for tag in ("1", "1.0")]

    pushed, attached = _push(replace(EVERYTHING, key=key), subject, [image], names, machine.store, registries)

    repository = registries.repository(f"{registry.address}/team/demo")
    found = verified(repository, pushed.top.digest, key.public)
    assert tuple(names) == found.names
    assert ("https://cyclonedx.org/bom", "https://slsa.dev/provenance/v1") == found.statements
    documents = _documents(registry)
    digest = image.manifest.digest
    name = f"pkg:oci/demo@{digest}?arch=amd64"
    assert {
        sbom_statement(name, digest, documents[digest, CYCLONEDX]),
        documents[digest, IN_TOTO],
    } == {open_envelope(one.data, key.public) for one in signed_things(repository, digest, "att")}
    assert Attached(digest, "signature") in attached


def test_each_of_several_images_and_their_index(
    machine: Machine, lock: Lock, registry: FakeRegistry, registries: Registries, key: PrivateKey
) -> None:
    """A bill of materials per image; provenance and signatures for all that has a digest."""
    amd64 = machine.build(lock)
    two = replace(
        lock,
        base=replace(
            lock.base,
            debs=dict.fromkeys((PLATFORM, "linux/arm64"), lock.base.debs[PLATFORM]),
            server=dict.fromkeys((PLATFORM, "linux/arm64"), lock.base.server[PLATFORM]),
        ),
        targets=(*lock.targets, replace(lock.targets[0], platform="linux/arm64")),
    )
    config = machine.store.put_blob(
        machine.store.blob_path(amd64.config.digest).read_bytes().replace(b'"amd64"', b'"arm64"')
    )
    manifest = machine.store.put_blob(
        machine.store.blob_path(amd64.manifest.digest)
        .read_bytes()
        .replace(amd64.config.digest.encode(), config.digest.encode())
    )
    arm64 = replace(amd64, platform="linux/arm64", config=config, manifest=manifest)
    subject = Subject(two, dump_lock(two), [amd64, arm64], "zstd")

    pushed, attached = _push(
        replace(EVERYTHING, key=key),
        subject,
        [amd64, arm64],
        [f"{registry.address}/team/demo:1"],
        machine.store,
        registries,
    )

    index, images = pushed.top.digest, {amd64.manifest.digest, arm64.manifest.digest}
    by_kind: dict[str, set[str]] = {}
    for one in attached:
        by_kind.setdefault(one.kind, set()).add(one.subject)
    assert {"sbom": images, "provenance": {index, *images}, "signature": {index, *images}} == by_kind
    documents = _documents(registry)
    statements = {data for (_, kind), data in documents.items() if kind == IN_TOTO}
    assert 1 == len(statements), "one build, one statement"
    told = {f"sha256:{one['digest']['sha256']}" for one in json.loads(statements.pop())["subject"]}
    assert {index, *images} == told
    bills = {subject: json.loads(data) for (subject, kind), data in documents.items() if kind == CYCLONEDX}
    assert {digest: digest for digest in images} == {
        digest: bill["metadata"]["component"]["version"] for digest, bill in bills.items()
    }
    repository = registries.repository(f"{registry.address}/team/demo")
    for digest in (index, *images):
        assert (f"{repository.name}:1",) == verified(repository, digest, key.public).names


def test_what_nobody_knows_the_contents_of_can_be_signed(
    machine: Machine, lock: Lock, registry: FakeRegistry, registries: Registries, key: PrivateKey
) -> None:
    image = machine.build(lock)

    _, attached = _push(
        replace(EVERYTHING, key=key),
        None,
        [image],
        [f"{registry.address}/team/demo:1"],
        machine.store,
        registries,
    )

    assert [Attached(image.manifest.digest, "signature")] == attached


def test_an_image_gets_its_name_when_everything_is_there(
    machine: Machine, lock: Lock, registry: FakeRegistry, registries: Registries, key: PrivateKey
) -> None:
    """Whoever lets only signed images in never sees this one without its signature."""
    subject = _built(machine, lock)

    _push(
        replace(EVERYTHING, key=key),
        subject,
        list(subject.images),
        [f"{registry.address}/team/demo:1"],
        machine.store,
        registries,
    )

    written = [request.reference for request in registry.asked("put-manifest")]
    assert "1" == written[-1]
    assert written[-2].endswith(".sig")


@pytest.mark.parametrize("attestation", ["sbom", "signature"])
def test_an_image_that_cannot_be_attested_gets_no_name(
    machine: Machine,
    lock: Lock,
    registry: FakeRegistry,
    registries: Registries,
    key: PrivateKey,
    attestation: str,
) -> None:
    subject = _built(machine, lock)
    (image,) = subject.images
    refused = faults.status(405, "UNSUPPORTED")
    registry.fail(refused, kind="put-manifest", path=r"\.sig$", times=None)
    registry.fail(refused, kind="put-manifest", nth=2, times=1)
    wanted: dict[str, Any] = {"sbom": {"sbom": True}, "signature": {"key": key}}

    with pytest.raises(RemoteError) as caught:
        _push(
            Attestation(**wanted[attestation]),
            subject,
            [image],
            [f"{registry.address}/team/demo:1"],
            machine.store,
            registries,
        )

    assert 4 == caught.value.exit_code
    held = registry.repository("team/demo")
    assert image.manifest.digest in held.manifests
    assert [] == list(held.tags)


def test_several_repositories_get_it_each_with_their_names(
    machine: Machine, lock: Lock, registry: FakeRegistry, registries: Registries, key: PrivateKey
) -> None:
    subject = _built(machine, lock)
    names = [f"{registry.address}/team/demo:1", f"{registry.address}/other/demo:2"]

    pushed, _ = _push(
        replace(EVERYTHING, key=key), subject, list(subject.images), names, machine.store, registries
    )

    for name in names:
        reference: Reference = parse_reference(name)
        repository = registries.repository(reference)
        assert (name,) == verified(repository, pushed.top.digest, key.public).names
        assert 2 == len(repository.referrers(pushed.top.digest))
