"""Blobs on their way from a registry: whole and verified, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.errors import RemoteError
from envbuild.registry.registries import Registries
from envbuild.registry.repository import Repository
from envbuild.store import Store
from tests.support.registry import FakeRegistry, Fault, digest_of, fake_registry, faults
from tests.support.reporters import Counting

DATA = bytes(range(256)) * 1000
DIGEST = digest_of(DATA)


def filled(registry: FakeRegistry, registries: Registries) -> Repository:
    registry.put_blob("team/demo", DATA)
    return registries.repository(f"{registry.address}/team/demo")


def fetch(repository: Repository, store: Store) -> None:
    """Fetch the blob; what was told of the progress must add up."""
    stage = Counting()
    try:
        repository.fetch_blob(DIGEST, len(DATA), store, stage)
    except RemoteError:
        assert 0 == stage.done
        assert not store.blob_path(DIGEST).exists()
        assert [] == list(store.tmp.iterdir())
        raise
    assert len(DATA) == stage.done
    assert store.blob_path(DIGEST).read_bytes() == DATA


@pytest.mark.parametrize("storage", [False, True])
def test_a_blob(registries: Registries, store: Store, storage: bool) -> None:
    with fake_registry(storage=storage) as registry:
        repository = filled(registry, registries)

        fetch(repository, store)
        registry.forget()
        fetch(repository, store)
        assert 0 == registry.count("get-blob")


@pytest.mark.parametrize(
    "fault",
    [
        faults.truncated(at=0.9),
        faults.truncated(at=0.0),
        faults.dropped(),
        faults.dropped(reset=True),
        faults.status(503),
        faults.shorter(),
    ],
)
@pytest.mark.parametrize("times", [1, 3])
def test_it_goes_on_where_it_broke(registries: Registries, store: Store, fault: Fault, times: int) -> None:
    with fake_registry() as registry:
        repository = filled(registry, registries)
        rule = registry.fail(fault, kind="get-blob", times=times)

        fetch(repository, store)
        assert times == rule.hits


def test_a_length_that_is_too_long_costs_nothing(registries: Registries, store: Store) -> None:
    with fake_registry() as registry:
        repository = filled(registry, registries)
        registry.fail(faults.wrong_length(100), kind="get-blob", times=None)

        fetch(repository, store)
        assert 1 == registry.count("get-blob")


def test_only_the_rest_is_fetched(registries: Registries, store: Store) -> None:
    with fake_registry() as registry:
        repository = filled(registry, registries)
        registry.fail(faults.truncated(at=0.5), kind="get-blob")

        fetch(repository, store)
        first, second = registry.asked("get-blob")
        assert None is first.headers.get("Range")
        start = int(str(second.headers["Range"]).removeprefix("bytes=").removesuffix("-"))
        assert (len(DATA) - start, 206) == (second.sent, second.status)
        assert 0 < start


def test_a_server_without_ranges_starts_again(registries: Registries, store: Store) -> None:
    with fake_registry() as registry:
        repository = filled(registry, registries)
        registry.fail(faults.truncated(at=0.5), kind="get-blob")
        registry.fail(faults.swapped(DATA, "application/octet-stream"), kind="get-blob")

        fetch(repository, store)
        assert [200, 200] == [request.status for request in registry.asked("get-blob")]


@pytest.mark.parametrize(
    "fault",
    [
        faults.wrong_bytes(),
        faults.longer(1),
        faults.longer(1 << 20),
        faults.compressed(),
        faults.shorter(),
        faults.swapped(b"something else", "application/octet-stream"),
        faults.truncated(at=0.0),
        faults.absent(),
        faults.status(403, "DENIED"),
        faults.status(200),
    ],
)
def test_what_is_not_the_blob_is_not_kept(registries: Registries, store: Store, fault: Fault) -> None:
    with fake_registry() as registry:
        repository = filled(registry, registries)
        registry.fail(fault, kind="get-blob", times=None)

        with pytest.raises(RemoteError):
            fetch(repository, store)


def test_a_bad_line_is_tried_twice(registries: Registries, store: Store) -> None:
    with fake_registry() as registry:
        repository = filled(registry, registries)
        registry.fail(faults.wrong_bytes(), kind="get-blob")

        fetch(repository, store)
        assert 2 == registry.count("get-blob")


def test_more_than_promised_is_not_taken(registries: Registries, store: Store, tmp_path: Path) -> None:
    with fake_registry() as registry:
        repository = filled(registry, registries)

        taken = 0
        with pytest.raises(RemoteError, match="more than the 1000 bytes"):
            for piece in repository.blob_chunks(DIGEST, 1000):
                taken += len(piece)
        assert taken <= 1000


def test_slow_is_not_wrong(registries: Registries, store: Store) -> None:
    with fake_registry() as registry:
        repository = filled(registry, registries)
        registry.fail(faults.slow(0.001, 5), kind="get-blob")

        fetch(repository, store)


def test_a_drip_is_given_up(registries: Registries, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envbuild.registry.retry._PACE_SECONDS", 0.0)
    monkeypatch.setattr("envbuild.registry.retry._PACE_BYTES", len(DATA))
    with fake_registry() as registry:
        repository = filled(registry, registries)

        with pytest.raises(RemoteError, match="hardly anything"):
            fetch(repository, store)


def test_who_stops_reading_ends_the_transfer(registries: Registries) -> None:
    with fake_registry() as registry:
        repository = filled(registry, registries)
        chunks = repository.blob_chunks(DIGEST, len(DATA))

        next(chunks)
        chunks.close()  # type: ignore[attr-defined]

        assert len(DATA) == repository.has_blob(DIGEST)
