"""Documents attached to images: in registries that list them, and in those where the client has to."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from envbuild.errors import RemoteError
from envbuild.image.config import INDEX_TYPE, MANIFEST_TYPE, canonical
from envbuild.image.descriptor import Descriptor
from envbuild.registry import tag_update
from envbuild.registry.referrers import Attachment, attach
from envbuild.registry.registries import Registries
from envbuild.registry.repository import Repository, referrers_tag
from envbuild.registry.retry import Retries
from tests.support.registry import FakeRegistry, fake_registry, faults

BILL = Attachment("application/vnd.cyclonedx+json", b'{"a": 1}', "sbom.cdx.json", {"org.example": "yes"})
OTHER = Attachment("application/vnd.in-toto+json", b'{"b": 2}', "provenance.json")


@pytest.fixture
def registries() -> Iterator[Registries]:
    with Registries({}, retries=Retries(first_pause=0.0)) as made:
        yield made


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited for somebody else; nothing really waits."""
    waited: list[float] = []
    monkeypatch.setattr(tag_update.time, "sleep", waited.append)
    return waited


def _image(registry: FakeRegistry, name: str = "team/demo") -> Descriptor:
    """An image without layers, as it stands in the registry."""
    config = registry.put_blob(name, b'{"os":"linux"}')
    manifest = canonical(
        {
            "config": {
                "digest": config,
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "size": len(b'{"os":"linux"}'),
            },
            "layers": [],
            "mediaType": MANIFEST_TYPE,
            "schemaVersion": 2,
        }
    )
    return Descriptor(MANIFEST_TYPE, registry.put_manifest(name, manifest, "1"), len(manifest))


def _repository(registries: Registries, registry: FakeRegistry) -> Repository:
    return registries.repository(f"{registry.address}/team/demo")


def _fallback(registry: FakeRegistry, subject: Descriptor) -> list[dict[str, Any]]:
    """What the list of referrers under the tag has."""
    held = registry.repository("team/demo")
    index = json.loads(held.manifests[held.tags[referrers_tag(subject.digest)]].data)
    assert (INDEX_TYPE, 2) == (index["mediaType"], index["schemaVersion"])
    entries: list[dict[str, Any]] = index["manifests"]
    return entries


@pytest.mark.parametrize("listed", [True, False])
def test_what_was_attached_is_found_by_all_and_by_type(registries: Registries, listed: bool) -> None:
    with fake_registry(referrers=listed, page=1) as registry:
        repository, subject = _repository(registries, registry), _image(registry)

        attached = [attach(repository, subject, one) for one in (BILL, OTHER)]

        assert sorted(attached, key=str) == sorted(repository.referrers(subject.digest), key=str)
        assert (attached[0],) == repository.referrers(subject.digest, BILL.artifact_type)
        assert (("org.example", "yes"),) == attached[0].annotations
        assert () == repository.referrers("sha256:" + "0" * 64)
        assert listed == (["1"] == list(registry.repository("team/demo").tags))


def test_the_manifest_is_that_of_an_artifact(registries: Registries) -> None:
    """image-spec 1.1, "Guidelines for artifact usage": an empty config, the type beside it, one layer."""
    with fake_registry() as registry:
        subject = _image(registry)

        descriptor = attach(_repository(registries, registry), subject, BILL)

        held = registry.repository("team/demo")
        manifest = json.loads(held.manifests[descriptor.digest].data)
        assert {
            "annotations": {"org.example": "yes"},
            "artifactType": BILL.artifact_type,
            "config": {
                "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
                "mediaType": "application/vnd.oci.empty.v1+json",
                "size": 2,
            },
            "layers": [
                {
                    "annotations": {"org.opencontainers.image.title": "sbom.cdx.json"},
                    "digest": "sha256:" + hashlib.sha256(BILL.data).hexdigest(),
                    "mediaType": BILL.artifact_type,
                    "size": len(BILL.data),
                }
            ],
            "mediaType": MANIFEST_TYPE,
            "schemaVersion": 2,
            "subject": {"digest": subject.digest, "mediaType": MANIFEST_TYPE, "size": subject.size},
        } == manifest
        assert BILL.data == held.blobs[manifest["layers"][0]["digest"]]
        assert len(held.manifests[descriptor.digest].data) == descriptor.size


@pytest.mark.parametrize("listed", [True, False])
def test_the_same_document_is_attached_once(registries: Registries, listed: bool) -> None:
    with fake_registry(referrers=listed) as registry:
        repository, subject = _repository(registries, registry), _image(registry)

        first, again = attach(repository, subject, BILL), attach(repository, subject, BILL)

        assert first == again
        assert (first,) == repository.referrers(subject.digest)
        assert 2 == registry.count("finish-upload"), "the document and the empty config"


def test_entries_of_others_in_the_list_stay_as_they_are(registries: Registries) -> None:
    with fake_registry(referrers=False) as registry:
        repository, subject = _repository(registries, registry), _image(registry)
        theirs = {
            "digest": subject.digest,
            "mediaType": MANIFEST_TYPE,
            "size": subject.size,
            "data": "aGVsbG8=",
            "org.example.unknown": 1,
        }
        index = {
            "mediaType": INDEX_TYPE,
            "schemaVersion": 2,
            "manifests": [theirs],
            "annotations": {"a": "b"},
        }
        registry.put_manifest("team/demo", index, referrers_tag(subject.digest))

        ours = attach(repository, subject, BILL)

        assert [theirs, ours.to_json()] == _fallback(registry, subject)


def test_what_somebody_else_overwrote_is_written_again(registries: Registries, waits: list[float]) -> None:
    """Between our reading the list and writing it, another client has written its own."""
    with fake_registry(referrers=False) as registry:
        repository, subject = _repository(registries, registry), _image(registry)
        tag = referrers_tag(subject.digest)
        theirs = {"digest": subject.digest, "mediaType": MANIFEST_TYPE, "size": subject.size}
        without_ours = {"mediaType": INDEX_TYPE, "schemaVersion": 2, "manifests": [theirs]}

        def overwrites(fake: FakeRegistry, exchange: Any) -> Any:
            reply = exchange.handle()
            fake.put_manifest("team/demo", without_ours, tag)
            return reply

        registry.fail(overwrites, kind="put-manifest", path=f"manifests/{tag}", times=2)

        ours = attach(repository, subject, BILL)

        assert [theirs, ours.to_json()] == _fallback(registry, subject)
        assert 2 == len(waits)


def test_who_never_gets_through_is_told(registries: Registries) -> None:
    with fake_registry(referrers=False) as registry:
        repository, subject = _repository(registries, registry), _image(registry)
        tag = referrers_tag(subject.digest)
        empty = {"mediaType": INDEX_TYPE, "schemaVersion": 2, "manifests": []}

        def overwrites(fake: FakeRegistry, exchange: Any) -> Any:
            reply = exchange.handle()
            fake.put_manifest("team/demo", empty, tag)
            return reply

        registry.fail(overwrites, kind="put-manifest", path=f"manifests/{tag}", times=None)

        with pytest.raises(RemoteError) as caught:
            attach(repository, subject, BILL)

        assert ("tag-contended", 4) == (caught.value.code, caught.value.exit_code)


def test_several_at_once_lose_nothing_in_a_registry_that_lists(registries: Registries) -> None:
    documents = [Attachment("application/x", str(number).encode(), "x") for number in range(8)]
    with fake_registry() as registry:
        repository, subject = _repository(registries, registry), _image(registry)
        threads = [
            threading.Thread(target=attach, args=(repository, subject, document)) for document in documents
        ]

        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(documents) == len(repository.referrers(subject.digest))


def test_a_tag_that_is_something_else_is_not_overwritten(registries: Registries) -> None:
    with fake_registry(referrers=False) as registry:
        repository, subject = _repository(registries, registry), _image(registry)
        held = registry.repository("team/demo")
        registry.put_manifest("team/demo", held.manifests[subject.digest].data, referrers_tag(subject.digest))

        with pytest.raises(RemoteError) as caught:
            attach(repository, subject, BILL)

        assert "referrers-tag-taken" == caught.value.code
        assert subject.digest == held.tags[referrers_tag(subject.digest)]


@pytest.mark.parametrize("status", [400, 405])
def test_a_registry_that_refuses_such_manifests_is_named(registries: Registries, status: int) -> None:
    with fake_registry() as registry:
        repository, subject = _repository(registries, registry), _image(registry)
        registry.fail(faults.status(status, "UNSUPPORTED"), kind="put-manifest", times=None)

        with pytest.raises(RemoteError) as caught:
            attach(repository, subject, BILL)

        assert ("registry-refuses-referrers", 4) == (caught.value.code, caught.value.exit_code)
        assert registry.address in str(caught.value)


@pytest.mark.parametrize("status", [400, 404, 405, 406, 501])
def test_registries_say_in_many_ways_that_they_keep_no_list(registries: Registries, status: int) -> None:
    with fake_registry(referrers=False) as registry:
        repository, subject = _repository(registries, registry), _image(registry)
        attached = attach(repository, subject, BILL)
        registry.fail(faults.status(status, "UNSUPPORTED"), kind="referrers", times=None)

        assert (attached,) == repository.referrers(subject.digest)
