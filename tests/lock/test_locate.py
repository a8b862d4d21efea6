from __future__ import annotations

from dataclasses import replace

from envbuild.fetch import Fetcher, Sources
from envbuild.lock.addresses import recall
from envbuild.lock.locate import Locator
from envbuild.lock.model import Artifact, Base, Lock, Target, Wheel
from envbuild.lock.uv_process import Uv
from tests.lock.test_lockfile import lock as make_lock
from tests.support.index import Index, IndexedFile, make_wheel


def lock_of(*entries: IndexedFile) -> Lock:
    """A lock of the listed files, for one platform, with other paths than theirs."""
    wheels = []
    for entry in entries:
        name, version = entry.filename.split("-")[:2]
        artifact = Artifact(entry.filename, entry.sha256, len(entry.data), "pypi", f"old/{entry.filename}")
        wheels.append(Wheel(name.replace("_", "-"), version, artifact, "bucket-00"))
    base = Base("python-3.11", "bookworm", "3.11.2", "2.36", {}, {"linux/amd64": ()}, "2026-11-20T12:00:00Z")
    return make_lock(base=base, targets=(Target("linux/amd64", tuple(wheels)),))


def test_files_are_found_by_version_name_and_hash_with_one_question(index: Index, uv: Uv) -> None:
    entries = [index.add(make_wheel(f"app-{number}")) for number in range(4)]
    lock = lock_of(*entries)
    locate = Locator(lock, uv)
    for entry, wheel in zip(entries, lock.targets[0].wheels, strict=True):
        assert index.base + entry.path == locate(wheel.artifact)
    assert 4 == sum(path.startswith("/simple/") for _, path in index.requests)


def test_another_hash_or_another_source_is_not_found(index: Index, uv: Uv) -> None:
    lock = lock_of(index.add(make_wheel("app")))
    artifact = lock.targets[0].wheels[0].artifact
    locate = Locator(lock, uv)
    assert locate(replace(artifact, sha256="0" * 64)) is None
    assert locate(replace(artifact, source="debian")) is None


def test_a_version_that_is_gone_does_not_hide_the_others(index: Index, uv: Uv) -> None:
    entries = [index.add(make_wheel(f"app-{number}")) for number in range(5)]
    lock = lock_of(*entries)
    del index.files["/" + entries[3].path]
    locate = Locator(lock, uv)
    found = [locate(wheel.artifact) is not None for wheel in lock.targets[0].wheels]
    assert [True, True, True, False, True] == found


def test_a_fetcher_with_a_locator_needs_no_address_and_the_next_one_knows_it(index: Index, uv: Uv) -> None:
    entry = index.add(make_wheel("app"))
    lock = lock_of(entry)
    artifact = lock.targets[0].wheels[0].artifact
    with Fetcher(uv.store, Sources({}), locate=Locator(lock, uv)) as fetcher:
        assert entry.data == fetcher.fetch(artifact).read_bytes()
    assert (index.base,) == recall(uv.store, uv.environment)


def test_credentials_are_added_for_the_download(uv: Uv, environment: dict[str, str]) -> None:
    with Index(credentials=("me", "hunter2")) as private:
        environment["UV_DEFAULT_INDEX"] = private.url_with_credentials
        entry = private.add(make_wheel("app"))
        lock = lock_of(entry)
        with Fetcher(uv.store, Sources({}), locate=Locator(lock, uv)) as fetcher:
            assert entry.data == fetcher.fetch(lock.targets[0].wheels[0].artifact).read_bytes()
