"""The tests' own registry, asked by a plain HTTP client: it is standard, strict, and faulty on request."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from tests.support.registry import FakeRegistry, Fault, digest_of, fake_registry, faults
from tests.support.registry.contents import INDEX_TYPES, MANIFEST_TYPES

MANIFEST, INDEX = MANIFEST_TYPES[0], INDEX_TYPES[0]
OCTETS = {"Content-Type": "application/octet-stream"}
DATA = bytes(range(256)) * 40
CONFIG = b'{"os":"linux"}'
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()


class Got(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def codes(self) -> list[str]:
        return [one["code"] for one in json.loads(self.body)["errors"]]


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as made:
        yield made


def ask(
    registry: FakeRegistry,
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
    *,
    address: str = "",
    **options: Any,
) -> Got:
    connection = http.client.HTTPConnection(address or registry.address, timeout=20)
    try:
        connection.request(method, target, body, dict(headers or {}), **options)
        answer = connection.getresponse()
        return Got(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def start(registry: FakeRegistry, repository: str = "team/demo") -> str:
    return ask(registry, "POST", f"/v2/{repository}/blobs/uploads/").headers["Location"]


def image(registry: FakeRegistry, repository: str = "team/demo", **more: Any) -> dict[str, Any]:
    """A manifest whose parts are in ``repository``."""
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": registry.put_blob(repository, CONFIG),
            "size": len(CONFIG),
        },
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": registry.put_blob(repository, DATA),
                "size": len(DATA),
            }
        ],
        **more,
    }


def put(registry: FakeRegistry, document: object, reference: str, kind: str = MANIFEST) -> Got:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return ask(registry, "PUT", f"/v2/team/demo/manifests/{reference}", {"Content-Type": kind}, body)


# Blobs


def test_it_is_a_registry(registry: FakeRegistry) -> None:
    got = ask(registry, "GET", "/v2/")

    assert (200, "registry/2.0") == (got.status, got.headers["Docker-Distribution-Api-Version"])


def test_a_blob_is_sent_in_one_piece_and_fetched_whole_and_in_part(registry: FakeRegistry) -> None:
    digest = DIGEST

    sent = ask(registry, "PUT", f"{start(registry)}&digest={digest}", OCTETS, DATA)
    whole = ask(registry, "GET", sent.headers["Location"])
    part = ask(registry, "GET", sent.headers["Location"], {"Range": "bytes=10-"})
    head = ask(registry, "HEAD", sent.headers["Location"])

    assert (201, digest) == (sent.status, sent.headers["Docker-Content-Digest"])
    assert (200, DATA) == (whole.status, whole.body)
    assert (206, DATA[10:], f"bytes 10-{len(DATA) - 1}/{len(DATA)}") == (
        part.status,
        part.body,
        part.headers["Content-Range"],
    )
    assert (200, str(len(DATA)), b"") == (head.status, head.headers["Content-Length"], head.body)
    assert (len(DATA), 2 * len(DATA) - 10) == (registry.received("finish-upload"), registry.sent("get-blob"))


def test_a_blob_is_sent_with_the_request_that_starts(registry: FakeRegistry) -> None:
    target = f"/v2/team/demo/blobs/uploads/?digest={DIGEST}"

    assert 201 == ask(registry, "POST", target, OCTETS, DATA).status
    assert {DIGEST: DATA} == registry.repository("team/demo").blobs


def test_a_blob_is_sent_in_pieces(registry: FakeRegistry) -> None:
    place = start(registry)
    for first in range(0, len(DATA), 4096):
        piece = DATA[first : first + 4096]
        headers = {**OCTETS, "Content-Range": f"{first}-{first + len(piece) - 1}"}
        got = ask(registry, "PATCH", place, headers, piece)
        assert (202, f"0-{first + len(piece) - 1}") == (got.status, got.headers["Range"])
        place = got.headers["Location"]
    status = ask(registry, "GET", place)
    got = ask(registry, "PUT", f"{place}&digest={DIGEST}")

    assert (204, f"0-{len(DATA) - 1}") == (status.status, status.headers["Range"])
    assert (201, DATA) == (got.status, registry.blobs[DIGEST])


def test_a_blob_is_sent_as_a_stream_of_unknown_length(registry: FakeRegistry) -> None:
    got = ask(registry, "PATCH", start(registry), OCTETS, iter([DATA[:99], DATA[99:]]), encode_chunked=True)
    done = ask(registry, "PUT", f"{got.headers['Location']}&digest={DIGEST}")

    assert (202, 201, DATA) == (got.status, done.status, registry.blobs[DIGEST])


@pytest.mark.parametrize(
    ("content_range", "status", "code"),
    [
        ("bytes 0-99/*", 400, "BLOB_UPLOAD_INVALID"),
        ("0-100", 400, "SIZE_INVALID"),
        ("100-199", 416, "BLOB_UPLOAD_INVALID"),
    ],
)
def test_pieces_are_checked(registry: FakeRegistry, content_range: str, status: int, code: str) -> None:
    got = ask(registry, "PATCH", start(registry), {**OCTETS, "Content-Range": content_range}, DATA[:100])

    assert (status, [code]) == (got.status, got.codes)


def test_pieces_must_not_be_smaller_than_the_registry_says() -> None:
    with fake_registry(chunk_minimum=100) as registry:
        opened = ask(registry, "POST", "/v2/team/demo/blobs/uploads/")
        first = ask(registry, "PATCH", opened.headers["Location"], OCTETS, b"small")
        second = ask(registry, "PATCH", first.headers["Location"], OCTETS, DATA)

    assert "100" == opened.headers["OCI-Chunk-Min-Length"]
    assert [202, 400] == [first.status, second.status]


def test_the_newest_address_of_a_session_must_be_used_as_it_is(registry: FakeRegistry) -> None:
    place = start(registry)
    ask(registry, "PATCH", place, OCTETS, DATA[:10])

    assert 416 == ask(registry, "PATCH", place, OCTETS, DATA[10:]).status
    assert 400 == ask(registry, "PATCH", place.partition("?")[0], OCTETS, DATA[10:]).status


def test_a_blob_that_is_not_its_digest_s_is_refused_and_its_session_is_over(registry: FakeRegistry) -> None:
    place = start(registry)

    got = ask(registry, "PUT", f"{place}&digest={digest_of(b'else')}", OCTETS, DATA)

    assert (400, ["DIGEST_INVALID"]) == (got.status, got.codes)
    assert ["BLOB_UPLOAD_UNKNOWN"] == ask(registry, "GET", place).codes
    assert {} == registry.blobs


def test_a_session_can_be_cancelled(registry: FakeRegistry) -> None:
    place = start(registry)

    assert 204 == ask(registry, "DELETE", place).status
    assert 404 == ask(registry, "PATCH", place, OCTETS, DATA).status


def test_blobs_are_mounted_from_where_they_are(registry: FakeRegistry) -> None:
    digest = registry.put_blob("team/base", DATA)
    target = f"/v2/team/demo/blobs/uploads/?mount={digest}&from="

    assert 202 == ask(registry, "POST", target + "team/other").status
    assert 404 == ask(registry, "HEAD", f"/v2/team/demo/blobs/{digest}").status
    assert 201 == ask(registry, "POST", target + "team/base").status
    assert 200 == ask(registry, "HEAD", f"/v2/team/demo/blobs/{digest}").status
    assert 2 == registry.count("mount")


def test_what_is_not_there_is_not_found(registry: FakeRegistry) -> None:
    registry.put_blob("team/demo", DATA)
    absent = digest_of(b"absent")

    assert ["BLOB_UNKNOWN"] == ask(registry, "GET", f"/v2/team/demo/blobs/{absent}").codes
    assert ["DIGEST_INVALID"] == ask(registry, "GET", "/v2/team/demo/blobs/sha256:abc").codes
    assert ["MANIFEST_UNKNOWN"] == ask(registry, "GET", f"/v2/team/demo/manifests/{absent}").codes
    assert ["NAME_UNKNOWN"] == ask(registry, "GET", "/v2/team/other/manifests/1").codes
    assert 400 == ask(registry, "POST", "/v2/Team/blobs/uploads/").status
    assert 404 == ask(registry, "GET", "/v2/_catalog").status


# Manifests


def test_a_manifest_comes_back_as_it_was_sent(registry: FakeRegistry) -> None:
    document = image(registry)

    got = put(registry, document, "1.0")
    digest = got.headers["Docker-Content-Digest"]
    back = ask(registry, "GET", f"/v2/team/demo/manifests/{digest}", {"Accept": MANIFEST})
    head = ask(registry, "HEAD", "/v2/team/demo/manifests/1.0", {"Accept": f"{INDEX}, {MANIFEST}"})

    assert (201, digest) == (got.status, digest_of(back.body))
    assert (document, MANIFEST) == (json.loads(back.body), back.headers["Content-Type"])
    assert (digest, str(len(back.body))) == (
        head.headers["Docker-Content-Digest"],
        head.headers["Content-Length"],
    )
    assert 404 == ask(registry, "GET", "/v2/team/demo/manifests/1.0", {"Accept": INDEX}).status
    assert ({"1.0": digest}, []) == (registry.repository("team/demo").tags, registry.contents.damages())


def test_manifests_are_checked(registry: FakeRegistry) -> None:
    good = image(registry)
    descriptor = good["layers"][0]
    lacking = {**good, "layers": [{**descriptor, "digest": digest_of(b"absent")}]}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [{**descriptor, "mediaType": MANIFEST}]}

    assert 404 == put(registry, lacking, "1").status
    assert ["MANIFEST_BLOB_UNKNOWN"] == put(registry, lacking, "1").codes
    assert ["SIZE_INVALID"] == put(registry, {**good, "layers": [{**descriptor, "size": 1}]}, "1").codes
    assert ["MANIFEST_BLOB_UNKNOWN"] == put(registry, index, "1", INDEX).codes  # a blob is no manifest
    assert ["MANIFEST_INVALID"] == put(registry, good, "1", INDEX).codes
    assert ["MANIFEST_INVALID"] == put(registry, {**good, "schemaVersion": 1}, "1").codes
    assert ["MANIFEST_INVALID"] == put(registry, b"{", "1").codes
    assert ["DIGEST_INVALID"] == put(registry, good, digest_of(b"else")).codes
    assert ["TAG_INVALID"] == put(registry, good, "-1").codes
    assert 413 == put(registry, b" " * (4 << 20) + b"{}", "1").status
    assert ({}, {}) == (registry.manifests, registry.repository("team/demo").tags)


def test_damages_are_told(registry: FakeRegistry) -> None:
    digest = put(registry, image(registry), "1").headers["Docker-Content-Digest"]
    held = registry.repository("team/demo")
    held.blobs[DIGEST] = b"damaged"
    held.blobs.pop(digest_of(CONFIG))
    held.tags["2"] = digest_of(b"absent")

    assert [
        f"team/demo: blob {DIGEST}",
        f"team/demo: {digest_of(CONFIG)} of {digest} is missing",
        "team/demo:2",
    ] == registry.contents.damages()


def test_tags_come_in_pages() -> None:
    with fake_registry(page=2) as registry:
        for tag in ("c", "a", "b"):
            registry.put_manifest("team/demo", image(registry), tag)
        first = ask(registry, "GET", "/v2/team/demo/tags/list?n=100")
        link = first.headers["Link"]
        second = ask(registry, "GET", link[link.index("<") + 1 : link.index(">")])

    assert {"name": "team/demo", "tags": ["a", "b"]} == json.loads(first.body)
    assert (["c"], None) == (json.loads(second.body)["tags"], second.headers["Link"])


def test_referrers_are_listed_by_what_they_refer_to(registry: FakeRegistry) -> None:
    subject = registry.put_manifest("team/demo", image(registry), "1")
    link = {"mediaType": MANIFEST, "digest": subject, "size": 1}
    kind = "application/vnd.example.sbom"
    bill = image(registry, subject=link, artifactType=kind, annotations={"a": "b"})
    got = put(registry, bill, "sbom")
    put(registry, image(registry, subject=link, artifactType="application/vnd.example.other"), "other")

    every = ask(registry, "GET", f"/v2/team/demo/referrers/{subject}")
    some = ask(registry, "GET", f"/v2/team/demo/referrers/{subject}?artifactType={kind}")

    assert (subject, INDEX) == (got.headers["OCI-Subject"], every.headers["Content-Type"])
    assert 2 == len(json.loads(every.body)["manifests"])
    assert [
        {
            "mediaType": MANIFEST,
            "digest": got.headers["Docker-Content-Digest"],
            "size": len(json.dumps(bill)),
            "artifactType": kind,
            "annotations": {"a": "b"},
        }
    ] == json.loads(some.body)["manifests"]
    assert "artifactType" == some.headers["OCI-Filters-Applied"]


def test_there_may_be_no_referrers_api() -> None:
    with fake_registry(referrers=False) as registry:
        subject = {"mediaType": MANIFEST, "digest": digest_of(b"any"), "size": 1}

        assert None is put(registry, image(registry, subject=subject), "1").headers["OCI-Subject"]
        assert 404 == ask(registry, "GET", f"/v2/team/demo/referrers/{digest_of(b'any')}").status


# Who may do what


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def token(registry: FakeRegistry, scope: str, headers: Mapping[str, str]) -> dict[str, str]:
    got = ask(registry, "GET", f"/token?service=tests&scope={scope}", headers)
    return {"Authorization": f"Bearer {json.loads(got.body)['token']}"}


def test_a_password_is_wanted() -> None:
    with fake_registry(scheme="basic", users={"me": "secret"}) as registry:
        refused = ask(registry, "GET", "/v2/")

        assert 401 == refused.status
        assert 'Basic realm="Registry of the tests"' == refused.headers["WWW-Authenticate"]
        assert 401 == ask(registry, "GET", "/v2/", basic("me", "wrong")).status
        assert 200 == ask(registry, "GET", "/v2/", basic("me", "secret")).status


def test_tokens_are_for_repositories_and_actions() -> None:
    me = basic("me", "secret")
    with fake_registry(scheme="bearer", users={"me": "secret"}, token_uses=2) as registry:
        registry.put_blob("team/demo", DATA)
        blob, uploads = f"/v2/team/demo/blobs/{DIGEST}", "/v2/team/demo/blobs/uploads/"
        refused = ask(registry, "POST", uploads)
        pull = token(registry, "repository:team/demo:pull", me)
        push = token(registry, "repository:team/demo:pull,push", me)
        other = token(registry, "repository:team/other:pull,push", me)
        nobody = token(registry, "repository:team/demo:pull", {})

        assert 401 == ask(registry, "GET", "/token?service=tests", basic("me", "wrong")).status
        assert (
            f'Bearer realm="{registry.url}/token",service="tests",scope="repository:team/demo:pull,push"'
            == refused.headers["WWW-Authenticate"]
        )
        assert 202 == ask(registry, "POST", uploads, push).status
        for wrong in (pull, other, nobody):
            assert 401 == ask(registry, "POST", uploads, wrong).status
        assert [200, 200, 401] == [ask(registry, "GET", blob, pull).status for _ in range(3)]  # two uses
        assert 401 == ask(registry, "POST", f"{uploads}?mount={DIGEST}&from=team/base", push).status


def test_refresh_tokens_are_exchanged() -> None:
    with fake_registry(scheme="bearer", refresh_tokens=frozenset({"long"})) as registry:
        form = "service=tests&client_id=me&scope=repository:team/demo:pull,push"
        form += "&grant_type=refresh_token&refresh_token="
        good = ask(registry, "POST", "/token", body=form + "long")
        headers = {"Authorization": f"Bearer {json.loads(good.body)['access_token']}"}

        assert 401 == ask(registry, "POST", "/token", body=form + "wrong").status
        assert 202 == ask(registry, "POST", "/v2/team/demo/blobs/uploads/", headers).status


def test_everybody_may_be_allowed_to_pull() -> None:
    with fake_registry(scheme="bearer", anonymous_pull=True) as registry:
        registry.put_blob("team/demo", DATA)
        anonymous = token(registry, "repository:team/demo:pull,push", {})

        assert 200 == ask(registry, "GET", f"/v2/team/demo/blobs/{DIGEST}", anonymous).status
        assert 401 == ask(registry, "POST", "/v2/team/demo/blobs/uploads/", anonymous).status


# Other servers


def test_blobs_and_sessions_may_be_elsewhere() -> None:
    with fake_registry(storage=True, locations="storage") as registry:
        other = registry.storage_address
        place = start(registry).removeprefix(f"http://{other}")
        sent = ask(registry, "PUT", f"{place}&digest={DIGEST}", OCTETS, DATA, address=other)
        led = ask(registry, "GET", sent.headers["Location"])
        place = led.headers["Location"].removeprefix(f"http://{other}")
        got = ask(registry, "GET", place, address=other)

        assert [201, 307, 200] == [sent.status, led.status, got.status]
        assert DATA == got.body


def test_passwords_are_not_for_other_servers() -> None:
    with pytest.raises(AssertionError, match="authorization sent"), fake_registry() as registry:
        got = ask(registry, "GET", "/v2/", basic("me", "secret"), address=registry.storage_address)
        assert 400 == got.status


# Faults


def test_a_fault_happens_to_the_requests_it_is_for(registry: FakeRegistry) -> None:
    rule = registry.fail(faults.status(503), kind="head-blob", path="demo", nth=2, times=1)
    digest = registry.put_blob("team/demo", DATA)
    registry.put_blob("team/other", DATA)

    statuses = [
        ask(registry, "HEAD", f"/v2/{name}/blobs/{digest}").status
        for name in ("team/demo", "team/other", "team/demo", "team/demo")
    ]

    assert [200, 200, 503, 200] == statuses
    assert (3, 1) == (rule.seen, rule.hits)


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_ends_before_and_after_the_work(registry: FakeRegistry, reset: bool) -> None:
    ends = ConnectionResetError if reset else http.client.RemoteDisconnected
    target = f"/v2/team/demo/blobs/uploads/?digest={DIGEST}"

    registry.fail(faults.dropped(reset=reset), method="POST")
    with pytest.raises(ends):
        ask(registry, "POST", target, OCTETS, DATA)
    assert {} == registry.blobs

    registry.fail(faults.answer_lost(reset=reset), method="POST")
    with pytest.raises(ends):
        ask(registry, "POST", target, OCTETS, DATA)
    assert [DIGEST] == list(registry.blobs)


def test_half_of_a_body_is_read_and_may_be_kept(registry: FakeRegistry) -> None:
    for kept in (True, False):
        place = start(registry)
        registry.fail(faults.half_read(kept=kept), kind="send-chunk")
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)):
            ask(registry, "PATCH", place, OCTETS, DATA)
        status = ask(registry, "GET", place)
        assert f"0-{len(DATA) // 2 - 1 if kept else 0}" == status.headers["Range"]


def test_a_body_ends_early(registry: FakeRegistry) -> None:
    target = f"/v2/team/demo/blobs/{registry.put_blob('team/demo', DATA)}"
    for fault in (faults.truncated(), faults.wrong_length(10)):
        registry.fail(fault, kind="get-blob")
        with pytest.raises(http.client.IncompleteRead):
            ask(registry, "GET", target)


def test_bodies_and_headers_lie(registry: FakeRegistry) -> None:
    target = f"/v2/team/demo/blobs/{registry.put_blob('team/demo', DATA)}"

    def got(fault: Fault) -> Got:
        registry.fail(fault, kind="get-blob")
        return ask(registry, "GET", target)

    changed = got(faults.wrong_bytes()).body
    assert (len(DATA), 1) == (len(changed), sum(one != two for one, two in zip(changed, DATA, strict=True)))
    assert digest_of(b"something else") == got(faults.wrong_digest()).headers["Docker-Content-Digest"]
    assert DATA[: len(DATA) // 2] == got(faults.shorter()).body
    assert DATA + bytes(1000) == got(faults.longer()).body
    assert "gzip" == got(faults.compressed()).headers["Content-Encoding"]
    assert "chunked" == got(faults.chunked()).headers["Transfer-Encoding"]
    assert DATA == got(faults.slow()).body
    released = threading.Event()
    threading.Timer(0.01, released.set).start()
    assert (DATA, True) == (got(faults.paused(released)).body, released.is_set())
    assert "5" == got(faults.too_busy(5)).headers["Retry-After"]
    assert "GMT" in got(faults.too_busy(as_date=True)).headers["Retry-After"]
    assert f"http://x.example{target}" == got(faults.redirected("http://x.example{path}")).headers["Location"]


def test_a_head_lies(registry: FakeRegistry) -> None:
    target = f"/v2/team/demo/blobs/{DIGEST}"
    registry.fail(faults.phantom(7), kind="head-blob")
    phantom = ask(registry, "HEAD", target)
    registry.put_blob("team/demo", DATA)
    registry.fail(faults.absent(), kind="head-blob")

    assert (200, "7") == (phantom.status, phantom.headers["Content-Length"])
    assert [404, 200] == [ask(registry, "HEAD", target).status for _ in range(2)]


def test_a_registry_forgets(registry: FakeRegistry) -> None:
    place = start(registry)
    registry.fail(faults.session_lost(), method="PATCH")
    assert ["BLOB_UPLOAD_UNKNOWN"] == ask(registry, "PATCH", place, OCTETS, DATA).codes

    registry.fail(faults.forgotten(), kind="start-upload", path="digest")
    target = f"/v2/team/demo/blobs/uploads/?digest={DIGEST}"
    assert 201 == ask(registry, "POST", target, OCTETS, DATA).status
    assert {} == registry.blobs


def test_a_body_without_end_is_not_held_in_memory(registry: FakeRegistry) -> None:
    registry.fail(faults.endless(MANIFEST), kind="get-manifest")
    connection = http.client.HTTPConnection(registry.address, timeout=20)
    connection.request("GET", "/v2/team/demo/manifests/1")
    answer = connection.getresponse()

    assert 1 << 20 == len(answer.read(1 << 20))
    connection.close()
