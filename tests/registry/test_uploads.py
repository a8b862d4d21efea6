"""Blobs on their way to a registry: once, whole, and never as something else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.errors import MachineError, RemoteError
from envbuild.registry import uploads
from envbuild.registry.registries import Registries
from envbuild.registry.repository import Repository
from envbuild.registry.uploads import _Reader
from tests.support.registry import FakeRegistry, Fault, digest_of, fake_registry, faults
from tests.support.registry.wire import Exchange, Reply

CHUNK = 1000
DATA = bytes(range(256)) * 20  # five chunks and a bit
DIGEST = digest_of(DATA)
SMALL = DATA[:900]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "CHUNK", CHUNK)


def pieces(data: bytes, size: int = 300) -> Callable[[], Iterator[bytes]]:
    return lambda: (data[start : start + size] for start in range(0, len(data), size))


def send(repository: Repository, data: bytes, mount_from: tuple[str, ...] = (), *, look: bool = True) -> str:
    """Upload ``data``; what was told of the progress must add up."""
    told: list[int] = []
    outcome = repository.upload_blob(
        digest_of(data), len(data), pieces(data), mount_from, sent=told.append, look=look
    )
    assert sum(told) == (len(data) if outcome == "uploaded" else 0)
    return outcome


def kinds(registry: FakeRegistry) -> list[str]:
    return [request.kind for request in registry.requests if request.kind != "ping"]


def chunks(registry: FakeRegistry) -> list[str]:
    return [str(request.headers["Content-Range"]) for request in registry.asked("send-chunk")]


def test_a_small_blob_goes_in_one_request(registries: Registries) -> None:
    with fake_registry() as registry:
        repository = registries.repository(f"{registry.address}/team/demo")

        assert "uploaded" == send(repository, SMALL)
        assert ["head-blob", "start-upload", "finish-upload"] == kinds(registry)
        assert {digest_of(SMALL): SMALL} == registry.repository("team/demo").blobs

        registry.forget()
        assert "exists" == send(repository, SMALL)
        assert ["head-blob"] == kinds(registry)


def test_an_empty_blob(registries: Registries) -> None:
    with fake_registry() as registry:
        repository = registries.repository(f"{registry.address}/team/demo")

        assert "uploaded" == send(repository, b"")
        assert {digest_of(b""): b""} == registry.blobs


@pytest.mark.parametrize("locations", ["relative", "absolute"])
def test_a_large_blob_goes_in_chunks(registries: Registries, locations: str) -> None:
    with fake_registry(locations=locations) as registry:
        repository = registries.repository(f"{registry.address}/team/demo")

        assert "uploaded" == send(repository, DATA)
        assert ["head-blob", "start-upload", *6 * ["send-chunk"], "finish-upload"] == kinds(registry)
        assert ["0-999", "1000-1999", "2000-2999", "3000-3999", "4000-4999", "5000-5119"] == chunks(registry)
        assert {DIGEST: DATA} == registry.blobs


def test_chunks_are_as_large_as_the_registry_wants(registries: Registries) -> None:
    with fake_registry(chunk_minimum=2048) as registry:
        send(registries.repository(f"{registry.address}/team/demo"), DATA)

        assert ["0-2047", "2048-4095", "4096-5119"] == chunks(registry)
        assert {DIGEST: DATA} == registry.blobs


@pytest.mark.parametrize("minimum", ["", "-1", "many", "9" * 30])
def test_an_absurd_wish_about_chunks(registries: Registries, minimum: str) -> None:
    with fake_registry() as registry:

        def wish(_: FakeRegistry, exchange: Exchange) -> Reply:
            reply = exchange.handle()
            return replace(reply, headers={**reply.headers, "OCI-Chunk-Min-Length": minimum})

        registry.fail(wish, kind="start-upload")

        assert "uploaded" == send(registries.repository(f"{registry.address}/team/demo"), DATA)
        assert {DIGEST: DATA} == registry.blobs


def test_a_registry_that_takes_no_chunks_is_asked_once(registries: Registries) -> None:
    with fake_registry() as registry:
        repository = registries.repository(f"{registry.address}/team/demo")
        registry.fail(faults.status(405), kind="send-chunk", times=None)

        assert "uploaded" == send(repository, DATA)
        assert "uploaded" == send(repository, DATA + b"more")
        assert 1 == registry.count("send-chunk")
        assert {DATA, DATA + b"more"} == set(registry.blobs.values())


@pytest.mark.parametrize(
    "fault",
    [
        faults.dropped(),
        faults.dropped(reset=True),
        faults.answer_lost(),
        faults.half_read(kept=True),
        faults.half_read(kept=False),
        faults.status(500),
        faults.status(503),
        faults.too_busy(),
        faults.too_busy(as_date=True),
    ],
)
@pytest.mark.parametrize("nth", [1, 3, 6])
def test_chunks_go_on_where_the_registry_is(registries: Registries, fault: Fault, nth: int) -> None:
    with fake_registry() as registry:
        rule = registry.fail(fault, kind="send-chunk", nth=nth)

        assert "uploaded" == send(registries.repository(f"{registry.address}/team/demo"), DATA)
        assert {DIGEST: DATA} == registry.blobs
        assert (1, 1) == (rule.hits, registry.count("start-upload"))
        assert registry.received("send-chunk") <= len(DATA) + CHUNK


@pytest.mark.parametrize("nth", [1, 4])
def test_a_lost_session_is_begun_again(registries: Registries, nth: int) -> None:
    with fake_registry() as registry:
        registry.fail(faults.session_lost(), kind="send-chunk", nth=nth)

        assert "uploaded" == send(registries.repository(f"{registry.address}/team/demo"), DATA)
        assert {DIGEST: DATA} == registry.blobs
        assert 2 == registry.count("start-upload")


@pytest.mark.parametrize("data", [SMALL, DATA])
@pytest.mark.parametrize(
    "fault",
    [
        faults.dropped(),
        faults.answer_lost(),
        faults.half_read(kept=False),
        faults.status(500),
    ],
)
@pytest.mark.parametrize("kind", ["head-blob", "start-upload", "finish-upload"])
def test_any_request_may_fail(registries: Registries, data: bytes, fault: Fault, kind: str) -> None:
    with fake_registry() as registry:
        registry.fail(fault, kind=kind)

        assert "uploaded" == send(registries.repository(f"{registry.address}/team/demo"), data)
        assert {digest_of(data): data} == registry.blobs


@pytest.mark.parametrize("fault", [faults.session_lost(), faults.absent(), faults.status(404)])
def test_the_end_of_a_session_may_be_too_late(registries: Registries, fault: Fault) -> None:
    with fake_registry() as registry:
        registry.fail(fault, kind="finish-upload")

        assert "uploaded" == send(registries.repository(f"{registry.address}/team/demo"), SMALL)
        assert ({digest_of(SMALL): SMALL}, 2) == (registry.blobs, registry.count("start-upload"))


def test_a_registry_that_has_no_such_repository(registries: Registries) -> None:
    with fake_registry() as registry:
        registry.fail(faults.status(404, "NAME_UNKNOWN"), kind="start-upload")

        with pytest.raises(RemoteError) as raised:
            send(registries.repository(f"{registry.address}/team/demo"), SMALL)
        assert "repository-unknown" == raised.value.code


def test_what_always_breaks_ends(registries: Registries) -> None:
    with fake_registry() as registry:
        rule = registry.fail(faults.half_read(kept=False), kind="finish-upload", times=None)

        with pytest.raises(RemoteError) as raised:
            send(registries.repository(f"{registry.address}/team/demo"), SMALL)
        assert ("registry-dropped", 5) == (raised.value.code, rule.hits)
        assert {} == registry.blobs


# Mounts


def test_a_neighbours_blob_is_mounted(registries: Registries) -> None:
    with fake_registry() as registry:
        registry.put_blob("base/python", DATA)
        repository = registries.repository(f"{registry.address}/team/demo")

        assert "mounted" == send(repository, DATA, (f"{registry.address}/base/python",))
        assert ["head-blob", "mount"] == kinds(registry)
        assert {DIGEST: DATA} == registry.repository("team/demo").blobs


def test_nothing_is_mounted_from_other_registries_or_from_itself(registries: Registries) -> None:
    with fake_registry() as registry:
        repository = registries.repository(f"{registry.address}/team/demo")

        send(
            repository,
            SMALL,
            ("ghcr.io/base/python", f"{registry.address}/team/demo", f"{registry.address}1/x"),
        )
        assert 0 == registry.count("mount")


def test_where_nothing_is_mounted_the_session_is_used(registries: Registries) -> None:
    with fake_registry(mounts=False) as registry:
        registry.put_blob("base/python", SMALL)
        repository = registries.repository(f"{registry.address}/team/demo")

        assert "uploaded" == send(repository, SMALL, (f"{registry.address}/base/python",))
        assert ["head-blob", "mount", "finish-upload"] == kinds(registry)


@pytest.mark.parametrize(
    "fault",
    [
        faults.status(403, "DENIED"),
        faults.status(404),
        faults.status(405),
        faults.status(500),
        faults.dropped(),
    ],
)
def test_trouble_with_mounting_is_none(registries: Registries, fault: Fault) -> None:
    with fake_registry() as registry:
        registry.put_blob("base/python", DATA)
        registry.fail(fault, kind="mount", times=None)
        repository = registries.repository(f"{registry.address}/team/demo")

        assert "uploaded" == send(repository, DATA, (f"{registry.address}/base/python",))
        assert {DIGEST: DATA} == registry.repository("team/demo").blobs


# Lies


def test_a_blob_of_another_size_is_not_there(registries: Registries) -> None:
    with fake_registry() as registry:
        registry.fail(faults.phantom(7), kind="head-blob")

        assert "uploaded" == send(registries.repository(f"{registry.address}/team/demo"), SMALL)


def test_who_was_wrong_once_is_not_asked(registries: Registries) -> None:
    with fake_registry() as registry:
        registry.fail(faults.phantom(len(SMALL)), kind="head-blob", times=None)
        repository = registries.repository(f"{registry.address}/team/demo")

        assert "exists" == send(repository, SMALL)
        assert "uploaded" == send(repository, SMALL, look=False)


def test_another_name_for_what_was_sent(registries: Registries) -> None:
    with fake_registry() as registry:
        registry.fail(faults.wrong_digest(), kind="finish-upload")

        with pytest.raises(RemoteError) as raised:
            send(registries.repository(f"{registry.address}/team/demo"), SMALL)
        assert "registry-lied" == raised.value.code


# The source


@pytest.mark.parametrize("data", [SMALL, DATA])
def test_a_damaged_source_never_arrives_in_full(registries: Registries, data: bytes) -> None:
    """Not even at a registry that does not look at digests: the last piece is not sent."""

    def damaged() -> Iterator[bytes]:
        yield from pieces(data)()
        raise MachineError("the blob was damaged", code="damaged-blob")

    with fake_registry() as registry:
        repository = registries.repository(f"{registry.address}/team/demo")

        with pytest.raises(MachineError):
            repository.upload_blob(digest_of(data), len(data), damaged)

        assert {} == registry.blobs
        assert all(len(session.data) < len(data) for session in registry.contents.uploads.values())


@given(st.binary(max_size=60), st.integers(1, 20), st.lists(st.integers(0, 60), max_size=8))
def test_any_parts_of_a_source(data: bytes, size: int, cuts: list[int]) -> None:
    reader = _Reader(pieces(data, size), digest_of(data), len(data))

    for cut in cuts:
        start, end = min(cut, len(data)), min(cut + 7, len(data))
        assert data[start:end] == b"".join(reader.part(start, end))


def test_parts_in_order_are_read_once() -> None:
    opened = []

    def content() -> Iterator[bytes]:
        opened.append(1)
        return pieces(DATA)()

    reader = _Reader(content, DIGEST, len(DATA))
    hashed = hashlib.sha256()
    for start in range(0, len(DATA), CHUNK):
        for piece in reader.part(start, min(start + CHUNK, len(DATA))):
            hashed.update(piece)

    assert (1, DIGEST) == (len(opened), "sha256:" + hashed.hexdigest())
