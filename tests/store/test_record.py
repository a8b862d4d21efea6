"""Records: whatever happens to their bytes, they say what was written or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.store import Store
from envbuild.store.record import decode, encode

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.text(min_size=1), _JSON)
def test_what_was_written_is_read(name: str, value: object) -> None:
    assert value == decode(name, encode(name, value))


@given(st.integers(0), st.integers(1, 255))
def test_any_changed_byte_is_noticed(position: int, change: int) -> None:
    data = bytearray(encode("ab", {"diff_id": "sha256:" + "0" * 64, "raw_size": 1234567}))
    data[position % (len(data) - 1)] ^= change  # the last byte is a line break

    with pytest.raises(ValueError, match="not what was written"):
        decode("ab", bytes(data))


@given(st.integers(0))
def test_any_cut_is_noticed(length: int) -> None:
    data = encode("ab", {"size": 3})

    with pytest.raises(ValueError, match="not what was written"):
        decode("ab", data[: length % (len(data) - 1)])


def test_a_record_under_another_name_is_none() -> None:
    with pytest.raises(ValueError, match="not what was written"):
        decode("cd", encode("ab", {"size": 3}))


def test_a_damaged_record_is_removed_and_named(store: Store, warnings: list[str]) -> None:
    store.put_action("ab", {"size": 3})
    path = store.actions / "ab"
    path.write_bytes(path.read_bytes().replace(b"3", b"4"))

    assert store.action("ab") is None
    assert (False, ["the record actions-v2/ab in the cache was damaged and has been removed"]) == (
        path.exists(),
        warnings,
    )


def test_looking_without_mending_leaves_it(store: Store, warnings: list[str]) -> None:
    (store.actions / "ab").write_bytes(b"half")

    assert store.intact_record(store.actions / "ab") is None
    assert ((store.actions / "ab").exists(), []) == (True, warnings)


def test_a_record_that_is_read_is_in_use(store: Store) -> None:
    """`cache prune` goes by the time of the last use."""
    import os

    store.put_action("ab", {"size": 3})
    os.utime(store.actions / "ab", (0, 0))

    store.action("ab")

    assert (store.actions / "ab").stat().st_mtime > 0
