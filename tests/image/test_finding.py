"""Layers that were made before: found again, and made anew when they are lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from envbuild.image.finding import Found, LayersLost, StoredLayers, without_lost
from envbuild.pack.blob import Packed, keep_packed, pack_entries
from envbuild.pack.tar import complete, file
from envbuild.store import Store

KEYS = tuple(letter * 64 for letter in "abc")
PLACE = "registry.example.org/team/envs"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


def kept(store: Store, key: str, *, place: str = "", compression: str = "zstd") -> Packed:
    """A layer in the store under ``key``."""
    packed = pack_entries(store, complete([file("name", key.encode())]), compression)
    packed = replace(packed, notes=("look out",), place=place)
    keep_packed(store, key, packed)
    return packed


def test_layers_of_the_store_are_found_with_their_notes(store: Store) -> None:
    packed = {key: kept(store, key) for key in KEYS[:2]}

    assert {key: Found(one, "store") for key, one in packed.items()} == StoredLayers(store, "zstd", 2).find(
        KEYS
    )


def test_a_layer_whose_blob_is_gone_is_not_found(store: Store) -> None:
    store.blob_path(kept(store, KEYS[0]).digest).unlink()

    assert {} == StoredLayers(store, "zstd").find(KEYS)


def test_a_layer_in_another_compression_is_encoded_anew(store: Store) -> None:
    packed = kept(store, KEYS[0])
    found = StoredLayers(store, "gzip").find(KEYS)[KEYS[0]].packed

    assert (packed.diff_id, "gzip") == (found.diff_id, found.compression)
    assert store.has_blob(found.digest, found.size)


@pytest.mark.parametrize(
    ("place", "trusted", "expected"),
    [("", set(), True), (PLACE, {PLACE}, True), (PLACE, set(), False), (PLACE, {PLACE + "2"}, False)],
)
def test_what_a_registry_said_counts_while_it_is_trusted(
    store: Store, place: str, trusted: set[str], expected: bool
) -> None:
    kept(store, KEYS[0], place=place)
    found = StoredLayers(store, "zstd", trusted=trusted).find(KEYS)

    assert (
        {KEYS[0]: place} == {key: one.packed.place for key, one in found.items()} if expected else not found
    )


def test_lost_layers_are_worth_one_more_attempt() -> None:
    attempts = []

    def make() -> str:
        attempts.append(len(attempts))
        if len(attempts) == 1:
            raise LayersLost
        return "made"

    assert ("made", [0, 1]) == (without_lost(make), attempts)
