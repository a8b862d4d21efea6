"""Getting artifacts: verified, cached, retried, and never a word about credentials."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from envbuild import fetch
from envbuild.errors import MachineError, RemoteError, RepoError
from envbuild.fetch import Fetcher, Sources
from envbuild.lock.model import Artifact
from envbuild.store import Store
from tests.support.index import Index, IndexedFile, make_wheel
from tests.support.reporters import Counting
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def _no_waiting_and_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_FIRST_PAUSE", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def index() -> Iterator[Index]:
    with Index() as index:
        yield index


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "cache")
    store.prepare()
    return store


def listed(index: Index, name: str = "demo", padding: int = 0) -> tuple[IndexedFile, Artifact]:
    entry = index.add(make_wheel(name, padding=padding))
    return entry, Artifact(entry.filename, entry.sha256, len(entry.data), "pypi", entry.path)


def at(*bases: str) -> Sources:
    return Sources({"pypi": bases})


def test_a_file_arrives_under_its_hash(index: Index, store: Store) -> None:
    entry, artifact = listed(index)
    with Fetcher(store, at(index.base)) as fetcher:
        path = fetcher.fetch(artifact)
    assert (entry.data, store.artifact_path(artifact.sha256)) == (path.read_bytes(), path)
    assert list(store.tmp.iterdir()) == []


def test_what_is_there_is_not_asked_for_again(index: Index, store: Store) -> None:
    _, artifact = listed(index)
    stage = Counting()
    for _ in range(2):
        with Fetcher(store, at(index.base)) as fetcher:
            fetcher.fetch(artifact, stage)
    assert len(index.requests) == 1
    assert (2 * artifact.size, 2 * artifact.size, artifact.size) == (stage.total, stage.done, stage.cached)


def test_a_truncated_file_in_the_cache_is_replaced(index: Index, store: Store) -> None:
    entry, artifact = listed(index)
    store.artifact_path(artifact.sha256).write_bytes(entry.data[:-1])
    with Fetcher(store, at(index.base)) as fetcher:
        assert entry.data == fetcher.fetch(artifact).read_bytes()


@pytest.mark.parametrize("position", [0, 400, -1])
def test_a_flipped_bit_in_the_cache_is_found_named_and_fetched_anew(
    index: Index, tmp_path: Path, position: int
) -> None:
    """Its size is right. Nothing but its hash tells, whatever kind of file it is."""
    warnings: list[str] = []
    store = Store(tmp_path / "cache", warnings.append)
    store.prepare()
    entry, artifact = listed(index, padding=500)
    data = bytearray(entry.data)
    data[position] ^= 1
    store.artifact_path(artifact.sha256).write_bytes(data)
    stage = Counting()
    with Fetcher(store, at(index.base)) as fetcher:
        path = fetcher.fetch(artifact, stage)

    assert (entry.data, artifact.size, 0) == (path.read_bytes(), stage.done, stage.cached)
    assert [
        f"the downloaded file {artifact.sha256} in the cache was damaged and has been removed"
    ] == warnings


def test_offline_a_damaged_file_is_missing(index: Index, store: Store) -> None:
    entry, artifact = listed(index)
    store.artifact_path(artifact.sha256).write_bytes(bytes(len(entry.data)))

    with Fetcher(store, at(index.base), offline=True) as fetcher, pytest.raises(RemoteError) as caught:
        fetcher.fetch(artifact)

    assert caught.value.code == "offline"


def test_another_file_than_the_locked_one_is_refused(index: Index, store: Store) -> None:
    entry, artifact = listed(index)
    expected = "0" * 64
    with Fetcher(store, at(index.base)) as fetcher, pytest.raises(RepoError) as caught:
        fetcher.fetch(replace(artifact, sha256=expected))
    assert caught.value.code == "hash-mismatch"
    for part in (artifact.filename, expected, entry.sha256):
        assert part in str(caught.value)
    assert [*store.tmp.iterdir(), *store.artifacts.iterdir()] == []


@pytest.mark.parametrize("difference", [-1, 1])
def test_another_size_than_the_locked_one_is_refused(index: Index, store: Store, difference: int) -> None:
    _, artifact = listed(index)
    stage = Counting()
    with Fetcher(store, at(index.base)) as fetcher, pytest.raises(RepoError, match="not the locked file"):
        fetcher.fetch(replace(artifact, size=artifact.size + difference), stage)
    assert stage.done == 0
    assert list(store.artifacts.iterdir()) == []


@pytest.mark.parametrize("statuses", [[503], [500, 429], [502, 504, 503]])
def test_passing_failures_are_tried_again(index: Index, store: Store, statuses: list[int]) -> None:
    entry, artifact = listed(index)
    index.failures["/" + entry.path] = list(statuses)
    with Fetcher(store, at(index.base)) as fetcher:
        fetcher.fetch(artifact)
    assert len(statuses) + 1 == len(index.requests)


def test_lasting_failures_end_with_the_reason_and_a_remedy(index: Index, store: Store) -> None:
    entry, artifact = listed(index)
    index.failures["/" + entry.path] = [503] * 10
    with Fetcher(store, at(index.base)) as fetcher, pytest.raises(RemoteError, match="HTTP 503") as caught:
        fetcher.fetch(artifact)
    assert (caught.value.code, caught.value.exit_code) == ("artifact-unavailable", 4)
    assert "--upgrade-package demo" in str(caught.value.remedy)


def test_the_pause_a_server_asks_for_is_kept(
    index: Index, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(Fetcher, "_sleep", lambda self, seconds: pauses.append(seconds))
    entry, artifact = listed(index)
    index.failures["/" + entry.path] = [429]
    index.failure_headers = {"Retry-After": "7"}
    with Fetcher(store, at(index.base)) as fetcher:
        fetcher.fetch(artifact)
    assert pauses == [7.0]


def test_a_broken_download_goes_on_where_it_stopped(index: Index, store: Store) -> None:
    entry, artifact = listed(index, padding=600_000)
    index.cuts["/" + entry.path] = 400_000
    stage = Counting()
    with Fetcher(store, at(index.base)) as fetcher:
        path = fetcher.fetch(artifact, stage)
    assert entry.data == path.read_bytes()
    assert (1, artifact.size) == (len(index.ranges), stage.done)


def test_the_next_address_is_tried(index: Index, store: Store) -> None:
    """Neither a mirror without the file nor one that is down is the end."""
    _, artifact = listed(index)
    with Index() as empty:
        dead = empty.base
        with Fetcher(store, at(empty.base, index.base)) as fetcher:
            fetcher.fetch(artifact)
    store.artifact_path(artifact.sha256).unlink()
    with Fetcher(store, at(dead, index.base)) as fetcher:
        fetcher.fetch(artifact)
    assert len(index.requests) == 2


def test_a_file_that_moved_is_located(index: Index, store: Store) -> None:
    entry, artifact = listed(index)
    asked: list[Artifact] = []

    def locate(artifact: Artifact) -> str | None:
        asked.append(artifact)
        return index.base + entry.path

    moved = replace(artifact, path="elsewhere/" + artifact.filename)
    with Fetcher(store, at(index.base), locate=locate) as fetcher:
        fetcher.fetch(moved)
    assert [moved] == asked


def test_without_an_address_the_file_is_located(index: Index, store: Store) -> None:
    entry, artifact = listed(index)
    with Fetcher(store, Sources({}), locate=lambda _: index.base + entry.path) as fetcher:
        fetcher.fetch(replace(artifact, path=""))
    assert len(index.requests) == 1


@pytest.mark.parametrize("version", ["2.36-9", "407", "4.07-407"])
def test_a_file_nobody_has_is_an_error_with_a_remedy(index: Index, store: Store, version: str) -> None:
    """Of the version's digits none is taken for a status."""
    name = f"libc6_{version}_amd64.deb"
    deb = Artifact(name, "0" * 64, 10, "debian", f"pool/{name}")
    with (
        Fetcher(store, Sources({"debian": (index.base,)}), locate=lambda _: None) as fetcher,
        pytest.raises(RemoteError, match=rf"{re.escape(name)} cannot be fetched.*HTTP 404") as caught,
    ):
        fetcher.fetch(deb)
    assert "--upgrade-base" in str(caught.value.remedy)


def test_one_file_asked_for_twice_is_downloaded_once(index: Index, store: Store) -> None:
    _, artifact = listed(index, padding=300_000)
    with Fetcher(store, at(index.base)) as fetcher:
        paths = {future.result() for future in [fetcher.submit(artifact) for _ in range(5)]}
    assert (len(paths), len(index.requests)) == (1, 1)


def test_several_fetchers_on_one_store_do_not_disturb_each_other(index: Index, store: Store) -> None:
    entry, artifact = listed(index, padding=300_000)
    together = threading.Barrier(4)

    def run(_: int) -> bytes:
        with Fetcher(store, at(index.base)) as fetcher:
            together.wait()
            return fetcher.fetch(artifact).read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert [entry.data] * 4 == list(pool.map(run, range(4)))
    assert list(store.tmp.iterdir()) == []


def test_offline_is_an_error_only_for_what_is_missing(index: Index, store: Store) -> None:
    _, artifact = listed(index)
    with (
        Fetcher(store, at(index.base), offline=True) as fetcher,
        pytest.raises(RemoteError, match="offline run"),
    ):
        fetcher.fetch(artifact)
    with Fetcher(store, at(index.base)) as fetcher:
        fetcher.fetch(artifact)
    with Fetcher(store, at(index.base), offline=True) as fetcher:
        fetcher.fetch(artifact)
    assert len(index.requests) == 1


def test_credentials_of_an_address_are_sent_and_never_shown(store: Store) -> None:
    with Index(credentials=("me", "hunter2")) as index:
        _, artifact = listed(index)
        base = index.base.replace("://", "://me:hunter2@")
        with Fetcher(store, at(base)) as fetcher:
            fetcher.fetch(artifact)
        wrong = base.replace("hunter2", "hunter3")
        missing = replace(artifact, sha256="1" * 64)
        with Fetcher(store, at(wrong)) as fetcher, pytest.raises(RemoteError, match="HTTP 401") as caught:
            fetcher.fetch(missing)
    assert "hunter" not in f"{caught.value}{caught.value.remedy}{at(wrong)!r}"


def test_a_password_in_netrc_is_used(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "passwords"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with Index(credentials=("me", "hunter2")) as index:
        _, artifact = listed(index)
        with Fetcher(store, at(index.base)) as fetcher:
            assert artifact.size == fetcher.fetch(artifact).stat().st_size


def test_offline_everything_that_is_missing_is_named_at_once(index: Index, store: Store) -> None:
    artifacts = [listed(index, name)[1] for name in ("one", "two", "three")]
    with Fetcher(store, at(index.base)) as fetcher:
        fetcher.fetch(artifacts[1])
        fetcher.require(artifacts)
    with Fetcher(store, at(index.base), offline=True) as fetcher, pytest.raises(RemoteError) as caught:
        fetcher.require(artifacts)
    assert "offline" == caught.value.code
    assert "one-1.0-py3-none-any.whl\nthree-1.0-py3-none-any.whl" == caught.value.detail


def test_a_proxy_that_is_none_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks4://me:hunter2@127.0.0.1:1")
    with pytest.raises(MachineError) as caught, fetch.http_client():
        pass
    assert "bad-proxy" == caught.value.code
    assert "hunter2" not in str(caught.value.to_json())


def test_an_error_in_the_block_stops_what_is_waiting(index: Index, store: Store) -> None:
    """Of what is being looked for, the first is found when another has been cancelled."""
    artifacts = [replace(listed(index, f"demo-{number}")[1], path="") for number in range(20)]
    futures: list[Future[Path]] = []

    def locate(artifact: Artifact) -> str | None:
        wait_until(lambda: any(future.cancelled() for future in futures))
        return None

    with pytest.raises(KeyError), Fetcher(store, Sources({}), locate=locate, jobs=1) as fetcher:
        futures += [fetcher.submit(artifact) for artifact in artifacts]
        raise KeyError("unrelated")
    assert all(future.cancelled() for future in futures[1:])
    assert list(store.tmp.iterdir()) == []


def test_a_directory_of_wheels_is_a_source(store: Store, tmp_path: Path) -> None:
    """uv gives ``file:`` URLs for UV_FIND_LINKS and indexes on disk."""
    wheel = make_wheel("demo")
    (tmp_path / "a b+c.whl").write_bytes(wheel.data)
    artifact = Artifact(wheel.filename, wheel.sha256, len(wheel.data), "pypi")
    with Fetcher(store, Sources({}), locate=lambda _: f"file://{tmp_path}/a%20b%2Bc.whl") as fetcher:
        assert wheel.data == fetcher.fetch(artifact).read_bytes()
    wrong = replace(artifact, sha256="0" * 64)
    with (
        Fetcher(store, Sources({}), locate=lambda _: f"file://{tmp_path}/a%20b%2Bc.whl") as fetcher,
        pytest.raises(RepoError, match="not the locked file"),
    ):
        fetcher.fetch(wrong)
    with (
        Fetcher(store, Sources({}), locate=lambda _: f"file://{tmp_path}/none.whl") as fetcher,
        pytest.raises(RemoteError, match="No such file"),
    ):
        fetcher.fetch(wrong)
