from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from envbuild.errors import RemoteError
from envbuild.lock.select import Pin
from envbuild.lock.sizes import measure
from envbuild.store import Store
from tests.support.index import Index, make_wheel


def listed(index: Index, name: str = "app", **changes: int) -> Pin:
    entry = index.add(make_wheel(name))
    return Pin(name, "1.0", entry.filename, entry.sha256, index.base + entry.path, **changes)


def size(index: Index, pin: Pin) -> int:
    return next(len(entry.data) for entry in index.files.values() if entry.sha256 == pin.sha256)


def test_the_server_is_asked_once_per_file_and_order_is_kept(index: Index, store: Store) -> None:
    pins = [listed(index, f"app-{number}") for number in range(5)]
    measured = measure([*pins, pins[0]], store=store, known={})
    assert [size(index, pin) for pin in (*pins, pins[0])] == [pin.size for pin in measured]
    assert ["HEAD"] * 5 == [method for method, _ in index.requests]


def test_what_is_known_is_not_asked_for(index: Index, store: Store) -> None:
    told, earlier, stored = (listed(index, name) for name in ("told", "earlier", "stored"))
    told = Pin(told.name, told.version, told.filename, told.sha256, told.url, 7)
    stored = replace(stored, sha256=hashlib.sha256(b"12345").hexdigest())
    store.artifact_path(stored.sha256).write_bytes(b"12345")
    measured = measure([told, earlier, stored], store=store, known={earlier.sha256: 6})
    assert [7, 6, 5] == [pin.size for pin in measured]
    assert [] == index.requests


def test_without_content_length_a_range_tells(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Index(content_length=False) as index:
        pin = listed(index)
        (measured,) = measure([pin], store=store, known={})
        assert size(index, pin) == measured.size
        assert ["HEAD", "GET"] == [method for method, _ in index.requests]


def test_without_ranges_either_the_bytes_are_counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Index(content_length=False, ranges=False) as index:
        pin = listed(index)
        (measured,) = measure([pin], store=store, known={})
        assert size(index, pin) == measured.size


def test_a_passing_failure_is_survived(index: Index, store: Store) -> None:
    pin = listed(index)
    index.failures["/" + index.files[next(iter(index.files))].path] = [503, 503, 503]
    (measured,) = measure([pin], store=store, known={})
    assert size(index, pin) == measured.size


def test_a_file_that_is_gone_is_the_remotes_fault(index: Index, store: Store) -> None:
    pin = listed(index)
    index.gone.update(index.files)
    with pytest.raises(RemoteError, match=r"size of app-1\.0-py3-none-any\.whl.*404"):
        measure([pin], store=store, known={})
