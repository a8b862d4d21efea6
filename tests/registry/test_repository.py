"""Manifests, tags and what refers to them; what is not true is not believed."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.errors import RemoteError
from envbuild.image.config import CONFIG_TYPE, INDEX_TYPE, MANIFEST_TYPE, canonical
from envbuild.image.descriptor import Descriptor
from envbuild.registry.registries import Registries
from envbuild.registry.repository import Manifest, next_page
from tests.support.registry import FakeRegistry, Fault, digest_of, fake_registry, faults

CONFIG = b"{}"
DOCUMENT = {
    "schemaVersion": 2,
    "mediaType": MANIFEST_TYPE,
    "config": {"mediaType": CONFIG_TYPE, "digest": digest_of(CONFIG), "size": len(CONFIG)},
    "layers": [],
}
DATA = canonical(DOCUMENT)
DIGEST = digest_of(DATA)


def filled(registry: FakeRegistry) -> str:
    """The name of a repository with one manifest."""
    registry.put_blob("team/demo", CONFIG)
    registry.put_manifest("team/demo", DATA, "1.0")
    return f"{registry.address}/team/demo"


def test_what_is_put_is_got(registries: Registries) -> None:
    with fake_registry() as registry:
        repository = registries.repository(f"{registry.address}/team/demo")
        registry.put_blob("team/demo", CONFIG)

        assert DIGEST == repository.put_manifest(DATA, MANIFEST_TYPE)
        assert {} == registry.repository("team/demo").tags
        assert DIGEST == repository.put_manifest(DATA, MANIFEST_TYPE, "1.0")

        for reference in (DIGEST, "1.0"):
            assert Manifest(DIGEST, MANIFEST_TYPE, DATA) == repository.manifest(reference)
            assert Descriptor(MANIFEST_TYPE, DIGEST, len(DATA)) == repository.head_manifest(reference)


def test_what_is_not_there(registries: Registries) -> None:
    with fake_registry() as registry:
        filled(registry)
        for name in ("team/demo", "team/nothing"):
            repository = registries.repository(f"{registry.address}/{name}")

            assert None is repository.manifest("2.0")
            assert None is repository.head_manifest("2.0")
            assert None is repository.has_blob(DIGEST)
        assert () == repository.tags()
        assert () == repository.referrers(DIGEST)


def test_a_manifest_without_its_parts_is_not_taken(registries: Registries) -> None:
    with fake_registry() as registry:
        repository = registries.repository(f"{registry.address}/team/demo")

        with pytest.raises(RemoteError) as raised:
            repository.put_manifest(DATA, MANIFEST_TYPE, "1.0")
        assert "registry-lacks-blob" == raised.value.code


@pytest.mark.parametrize("status", [200, 202, 204])
@pytest.mark.parametrize("reference", ["1.0", None])
def test_what_does_not_say_that_it_took_a_manifest_is_looked_at(
    registries: Registries, status: int, reference: str | None
) -> None:
    """201 is what a registry has to answer; old ones answer something else, and so do other servers."""
    with fake_registry() as registry:
        repository = registries.repository(filled(registry))
        taken = registry.repository("team/demo").manifests.copy()
        registry.repository("team/demo").manifests.clear()
        registry.fail(faults.bare(status), kind="put-manifest", times=None)

        with pytest.raises(RemoteError) as raised:
            repository.put_manifest(DATA, MANIFEST_TYPE, reference)
        assert "registry-lied" == raised.value.code

        registry.repository("team/demo").manifests.update(taken)
        assert DIGEST == repository.put_manifest(DATA, MANIFEST_TYPE, reference)


@pytest.mark.parametrize(
    "fault", [faults.wrong_bytes(), faults.shorter(), faults.longer(), faults.compressed()]
)
@pytest.mark.parametrize("reference", ["1.0", DIGEST])
def test_another_manifest_than_promised(registries: Registries, fault: Fault, reference: str) -> None:
    with fake_registry() as registry:
        repository = registries.repository(filled(registry))
        registry.fail(fault, kind="get-manifest", times=None)

        with pytest.raises(RemoteError) as raised:
            repository.manifest(reference)
        assert "registry-lied" == raised.value.code


@pytest.mark.parametrize(
    ("fault", "kind", "ask"),
    [
        (faults.wrong_digest(), "get-manifest", lambda repository: repository.manifest("1.0")),
        (faults.wrong_digest(), "head-manifest", lambda repository: repository.head_manifest(DIGEST)),
        (
            faults.wrong_digest(),
            "put-manifest",
            lambda repository: repository.put_manifest(DATA, MANIFEST_TYPE),
        ),
        (
            faults.header("Content-Type", INDEX_TYPE),
            "get-manifest",
            lambda repository: repository.manifest("1.0"),
        ),
    ],
)
def test_a_registry_that_contradicts_itself(
    registries: Registries, fault: Fault, kind: str, ask: Callable[..., object]
) -> None:
    with fake_registry() as registry:
        repository = registries.repository(filled(registry))
        registry.fail(fault, kind=kind, times=None)

        with pytest.raises(RemoteError) as raised:
            ask(repository)
        assert "registry-lied" == raised.value.code


def test_a_head_that_says_too_little_is_made_up_for(registries: Registries) -> None:
    with fake_registry() as registry:
        repository = registries.repository(filled(registry))
        registry.fail(faults.header("Docker-Content-Digest", None), kind="head-manifest")

        assert Descriptor(MANIFEST_TYPE, DIGEST, len(DATA)) == repository.head_manifest("1.0")


@pytest.mark.parametrize("told", ["text/plain", "application/json; charset=utf-8", "", None])
def test_a_media_type_that_says_nothing(registries: Registries, told: str | None) -> None:
    with fake_registry() as registry:
        repository = registries.repository(filled(registry))
        registry.fail(faults.header("Content-Type", told), kind="get-manifest")

        assert Manifest(DIGEST, MANIFEST_TYPE, DATA) == repository.manifest("1.0")


def test_a_manifest_without_end(registries: Registries) -> None:
    with fake_registry() as registry:
        repository = registries.repository(filled(registry))
        registry.fail(faults.longer(5 << 20), kind="get-manifest")

        with pytest.raises(RemoteError) as raised:
            repository.manifest("1.0")
        assert "answer-too-long" == raised.value.code


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_what_passes_is_tried_again(registries: Registries, code: int) -> None:
    with fake_registry() as registry:
        repository = registries.repository(filled(registry))
        rule = registry.fail(faults.status(code), times=3)

        assert Manifest(DIGEST, MANIFEST_TYPE, DATA) == repository.manifest("1.0")
        assert 3 == rule.hits


def test_what_does_not_pass_is_given_up(registries: Registries) -> None:
    with fake_registry() as registry:
        repository = registries.repository(filled(registry))
        repository.tags()
        rule = registry.fail(faults.status(503, "UNAVAILABLE", "down for maintenance"), times=None)

        with pytest.raises(RemoteError) as raised:
            repository.manifest("1.0")
        assert "registry-failed" == raised.value.code
        assert (
            f"{registry.address} failed when it was asked to pull {repository.name}:1.0: HTTP 503"
            " (UNAVAILABLE: down for maintenance)" == raised.value.message
        )
        assert 5 == rule.hits


@pytest.mark.parametrize("code", [400, 404, 405, 418])
def test_what_is_refused_is_not_tried_again(registries: Registries, code: int) -> None:
    with fake_registry() as registry:
        repository = registries.repository(filled(registry))
        rule = registry.fail(faults.status(code, "UNSUPPORTED"), kind="put-manifest", times=None)

        with pytest.raises(RemoteError) as raised:
            repository.put_manifest(DATA, MANIFEST_TYPE)
        assert "registry-refused" == raised.value.code
        assert 1 == rule.hits


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (faults.status(403, "DENIED", "not yours"), "registry-denied"),
        (faults.status(413), "blob-too-large"),
        (faults.status(404, "NAME_UNKNOWN"), "repository-unknown"),
        (faults.status(412, "DENIED", "adding 5 MB would exceed the quota of 1 GB"), "registry-quota"),
        (faults.status(507, "X", "Insufficient Storage"), "registry-quota"),
        (faults.status(401), "registry-unauthorized"),
    ],
)
def test_refusals_have_names(registries: Registries, fault: Fault, code: str) -> None:
    with fake_registry() as registry:
        repository = registries.repository(filled(registry))
        registry.fail(fault, kind="put-manifest", times=None)

        with pytest.raises(RemoteError) as raised:
            repository.put_manifest(DATA, MANIFEST_TYPE)
        assert (code, 4) == (raised.value.code, raised.value.exit_code)
        assert raised.value.remedy


# Lists


@pytest.mark.parametrize("page", [1, 2, 5, 1000])
def test_tags_come_in_pages(registries: Registries, page: int) -> None:
    with fake_registry(page=page) as registry:
        repository = registries.repository(filled(registry))
        for tag in ("a", "b", "latest", "Z"):
            registry.put_manifest("team/demo", DATA, tag)

        assert ("1.0", "Z", "a", "b", "latest") == repository.tags()


def test_a_list_must_end(registries: Registries) -> None:
    with fake_registry() as registry:
        repository = registries.repository(filled(registry))
        link = faults.header("Link", '</v2/team/demo/tags/list?n=1000>; rel="next"')
        registry.fail(link, kind="tags", times=None)

        with pytest.raises(RemoteError, match="has no end"):
            repository.tags()
        assert 2 == registry.count("tags")


def test_a_list_must_not_go_on_elsewhere(registries: Registries) -> None:
    with fake_registry() as registry:
        repository = registries.repository(filled(registry))
        registry.fail(faults.header("Link", '<https://evil.example.org/tags>; rel="next"'), kind="tags")

        with pytest.raises(RemoteError) as raised:
            repository.tags()
        assert "unsafe-redirect" == raised.value.code


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("", None),
        ('</v2/a/tags/list?n=1&last=b>; rel="next"', "/v2/a/tags/list?n=1&last=b"),
        ("<https://r.example.org/x>;rel=next", "https://r.example.org/x"),
        ('</p>; rel="prev", </n>; title="a, b"; REL="NEXT"', "/n"),
        ('</p>; rel="prev"', None),
        ('</p>; rel="nextish"', None),
        ("</p", None),
        ('<>; rel="next"', None),
    ],
)
def test_links_to_the_next_page(link: str, expected: str | None) -> None:
    assert expected == next_page(link)


@given(st.text())
def test_nothing_breaks_a_link(link: str) -> None:
    next_page(link)


@given(st.from_regex(r"/[a-z/?=&,;]{1,30}", fullmatch=True))
def test_links_are_read_back(address: str) -> None:
    assert address == next_page(f'<{address}>; rel="next"')


@pytest.mark.parametrize(
    "answer", [b"", b"{}", b"[]", b'{"tags": null}', b'{"tags": [1, null, "a"]}', b"[" * 9999]
)
def test_lists_of_anything(registries: Registries, answer: bytes) -> None:
    with fake_registry() as registry:
        repository = registries.repository(filled(registry))
        registry.fail(faults.swapped(answer, "application/json"), kind="tags")

        assert set(repository.tags()) <= {"a"}


# What refers to a manifest


def attached(subject: str, kind: str) -> bytes:
    descriptor = {"mediaType": MANIFEST_TYPE, "digest": subject, "size": len(DATA)}
    return canonical({**DOCUMENT, "artifactType": kind, "subject": descriptor, "annotations": {"a": kind}})


@pytest.mark.parametrize("page", [1, 1000])
def test_referrers(registries: Registries, page: int) -> None:
    with fake_registry(page=page) as registry:
        repository = registries.repository(filled(registry))
        kinds = ("application/x-one", "application/x-two", "application/x-one;v=2")
        digests = {kind: registry.put_manifest("team/demo", attached(DIGEST, kind)) for kind in kinds}

        found = repository.referrers(DIGEST)
        assert set(digests.values()) == {one.digest for one in found}
        assert {kind: (("a", kind),) for kind in kinds} == {
            one.artifact_type: one.annotations for one in found
        }
        (one,) = repository.referrers(DIGEST, "application/x-two")
        assert digests["application/x-two"] == one.digest


def test_referrers_by_the_tag_that_stands_in_for_the_api(registries: Registries) -> None:
    with fake_registry(referrers=False) as registry:
        repository = registries.repository(filled(registry))
        digest = registry.put_manifest("team/demo", attached(DIGEST, "x/y"))
        entry = {"mediaType": MANIFEST_TYPE, "digest": digest, "size": 1, "artifactType": "x/y"}
        other = {**entry, "artifactType": "x/z"}
        index = {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [entry, other, {"digest": "no"}, 7],
        }
        registry.fail(
            faults.swapped(json.dumps(index).encode(), INDEX_TYPE), kind="get-manifest", path="sha256-"
        )
        registry.put_manifest("team/demo", DATA, DIGEST.replace(":", "-"))

        assert [digest] == [one.digest for one in repository.referrers(DIGEST, "x/y")]
