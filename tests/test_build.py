"""Assembling images: what is packed, what is found, and what is never asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.builds import Machine, lock_of, use_this_python
from tests.support.index import make_wheel

NUMPY, PANDAS = make_wheel("numpy", "2.0"), make_wheel("pandas", "3.0")
LOCK = lock_of(NUMPY, PANDAS)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    use_this_python(monkeypatch)
    made = Machine(tmp_path / "cache")
    made.give_all(LOCK, NUMPY, PANDAS)
    return made


def test_everything_is_packed_once(machine: Machine) -> None:
    first, second = machine.build(LOCK), machine.build(LOCK)

    assert first.manifest == second.manifest
    assert ["jupyterlab", "numpy", "pandas", "environment, kernels and entry point", "repository"] == (
        machine.packed(first)
    )
    assert ["repository"] == machine.packed(second)


def test_a_bump_packs_one_package_and_needs_no_other_download(machine: Machine) -> None:
    """And the layer with the glue, which has the lock and says which environment it is."""
    before = machine.build(LOCK)
    for downloaded in machine.store.artifacts.iterdir():
        downloaded.unlink()
    bumped = make_wheel("pandas", "3.1")
    machine.give(bumped)
    after = machine.build(lock_of(NUMPY, bumped))

    assert ["pandas", "environment, kernels and entry point", "repository"] == machine.packed(after)
    assert 2 == len({layer.digest for layer in after.layers} - {layer.digest for layer in before.layers})


def test_the_manifest_says_which_planned_layer_each_blob_is(machine: Machine) -> None:
    """All but the repository's files, which no plan knows."""
    image = machine.build(LOCK)
    manifest = json.loads(machine.store.blob_path(image.manifest.digest).read_bytes())
    keys = [layer["annotations"].get("dev.envbuild.layer.key") for layer in manifest["layers"]]

    assert [*(layer.key for layer in image.layers[:-1]), None] == keys
    assert all(keys[:-1])
