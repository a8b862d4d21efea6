"""Every write can fail: nothing half is ever found, nothing is left over, and the second try works."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from envbuild.errors import MachineError
from envbuild.progress import Silent
from envbuild.store import Store
from envbuild.store.verify import verify
from tests.support.faulty_disk import FaultyDisk
from tests.support.store_work import WORK, place_for_work

pytestmark = pytest.mark.slow  # every write fails once

_CODES = {
    errno.ENOSPC: {"disk-full", "output-not-writable"},
    errno.EDQUOT: {"disk-full", "output-not-writable"},
    errno.EFBIG: {"file-too-large", "output-not-writable"},
}


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    return FaultyDisk(monkeypatch)


@pytest.mark.parametrize(
    ("work", "number"),
    [*((work, errno.ENOSPC) for work in WORK), ("pack", errno.EDQUOT), ("directory", errno.EFBIG)],
)
def test_a_write_that_fails(tmp_path: Path, disk: FaultyDisk, work: str, number: int) -> None:
    """The first one, the second one, and so on, until there are no more."""
    expected = WORK[work](*place_for_work(tmp_path / "expected"))
    at = 0
    while True:
        at += 1
        store, outside = place_for_work(tmp_path / str(at))
        before = sorted(outside.iterdir())
        try:
            with disk.failing(at, number):
                WORK[work](store, outside)
        except MachineError as error:
            assert error.code in _CODES[number]
            assert error.remedy
        if not disk.failed:
            break
        assert [] == list(store.tmp.iterdir()), f"left over when change {at} failed"
        assert () == verify(store, Silent()).damage
        if (outside / "layout").exists() or (outside / "image.tar").exists():
            continue  # what failed came after it was whole
        assert before == sorted(outside.iterdir()), f"left over when change {at} failed"
        assert expected == WORK[work](Store(store.root), outside)
    assert at > 3


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
def test_preparing_the_cache(tmp_path: Path, disk: FaultyDisk, number: int) -> None:
    at = 0
    while True:
        at += 1
        store = Store(tmp_path / str(at) / "cache")
        try:
            with disk.failing(at, number):
                store.prepare()
        except MachineError as error:
            assert error.code in {"disk-full", "cache-not-writable", "disk-failed"}
        if not disk.failed:
            break
        store.prepare()
        assert () == verify(store, Silent()).damage
    assert at > 10
