"""Where blobs are known to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.registry.places import known_places, remember_place
from envbuild.store import Store

DIGEST = "sha256:" + "a1" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


def test_the_latest_place_is_first_and_each_is_there_once(store: Store) -> None:
    for name in ("ghcr.io/a", "ghcr.io/b", "ghcr.io/a"):
        remember_place(store, DIGEST, name)

    assert ("ghcr.io/a", "ghcr.io/b") == known_places(store, DIGEST)
    assert () == known_places(store, DIGEST.replace("a", "b"))


def test_only_the_last_eight_are_kept(store: Store) -> None:
    for number in range(12):
        remember_place(store, DIGEST, f"ghcr.io/demo{number}")

    assert tuple(f"ghcr.io/demo{number}" for number in range(11, 3, -1)) == known_places(store, DIGEST)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'"ghcr.io/a"', b"[1, null, [], {}]", b'["../../etc", "a", "http://x/y"]', b"[" * 100_000],
)
def test_a_damaged_note_is_none(store: Store, content: bytes) -> None:
    store.place_path(DIGEST).write_bytes(content)

    assert () == known_places(store, DIGEST)

    remember_place(store, DIGEST, "ghcr.io/a")
    assert ("ghcr.io/a",) == known_places(store, DIGEST)


def test_what_is_no_digest_is_no_path(store: Store) -> None:
    remember_place(store, "sha256:../../../escaped", "ghcr.io/a")

    assert () == known_places(store, "sha256:../../../escaped")
    assert [] == list(store.places.iterdir())
