"""Layers packed in worker processes: results, errors, and workers that die."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest

from envbuild.errors import MachineError, RepoError
from envbuild.layers import WheelLayer
from envbuild.lock.model import Artifact, Wheel
from envbuild.pack.worker import Job, WorkerPool
from envbuild.store import Store
from tests.support.index import WheelFile, make_wheel

pytestmark = pytest.mark.slow  # real processes

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


def job(store: Store, *wheels: WheelFile, python: str = os.path.realpath(sys.executable)) -> Job:
    """A layer of ``wheels``, compiled by ``python``."""
    locked, files = [], {}
    for wheel in wheels:
        digest = hashlib.sha256(wheel.data).hexdigest()
        files[digest] = store.artifact_path(digest)
        files[digest].write_bytes(wheel.data)
        artifact = Artifact(wheel.filename, digest, len(wheel.data), "pypi")
        locked.append(Wheel(wheel.filename.split("-")[0], "1.0", artifact))
    layer = WheelLayer("demo", "srv/env", MINOR, "test", tuple(locked))
    return Job(layer, files, "zstd", ((python,), {}))


def test_every_job_is_answered_and_the_same_job_the_same(store: Store) -> None:
    jobs = [job(store, make_wheel(f"demo{number % 3}")) for number in range(6)]
    with WorkerPool(store, 2) as pool:
        packed = [future.result() for future in [pool.submit(one) for one in jobs]]

    assert packed[:3] == packed[3:]
    assert len({one.diff_id for one in packed}) == 3
    assert all(store.has_blob(one.digest, one.size) for one in packed)


def test_packages_that_cannot_be_together_are_named(store: Store) -> None:
    """One has a file where the other has a directory."""
    file = make_wheel("one", files={"both": b"x"})
    directory = make_wheel("two", files={"both/x.py": b""})
    with WorkerPool(store, 1) as pool, pytest.raises(RepoError, match="contradict each other") as caught:
        pool.submit(job(store, file, directory)).result()

    assert caught.value.code == "packages-conflict"
    assert caught.value.detail == "one==1.0 two==1.0"


def test_a_damaged_wheel_is_an_error_and_the_worker_goes_on(store: Store) -> None:
    good = make_wheel("demo", padding=5000)
    middle = good.data.index(b"demo_padding.bin") + 2000
    bad = WheelFile(good.filename, good.data[:middle] + b"\xff" * 500 + good.data[middle + 500 :])
    with WorkerPool(store, 1) as pool:
        with pytest.raises(RepoError) as caught:
            pool.submit(job(store, bad)).result()
        packed = pool.submit(job(store, good)).result()

    assert caught.value.code == "bad-wheel"
    assert store.has_blob(packed.digest, packed.size)
    assert [] == list(store.tmp.iterdir())


def test_a_download_damaged_in_the_cache_is_removed_and_the_package_not_blamed(store: Store) -> None:
    wheel = make_wheel("demo", padding=5000)
    one = job(store, wheel)
    (path,) = one.files.values()
    path.write_bytes(wheel.data[:2000] + b"\xff" * 500 + wheel.data[2500:])
    with WorkerPool(store, 1) as pool, pytest.raises(MachineError) as caught:
        pool.submit(one).result()

    assert caught.value.code == "damaged-cache"
    assert not path.exists()


def test_an_interpreter_that_does_not_run_is_an_error(store: Store) -> None:
    with WorkerPool(store, 1) as pool, pytest.raises(MachineError) as caught:
        pool.submit(job(store, make_wheel("demo"), python="/bin/false")).result()

    assert caught.value.code == "interpreter-failed"


def test_after_an_interruption_no_worker_is_left(store: Store) -> None:
    pool = WorkerPool(store, 1)
    with pytest.raises(KeyboardInterrupt), pool:
        pool.submit(job(store, make_wheel("demo"))).result()
        raise KeyboardInterrupt

    assert [worker._process.poll() is not None for worker in pool._all] == [True]
