"""From a lock to packed layers: what is said about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.layers import CondaLayer
from envbuild.pack.blob import Packed, find_packed
from envbuild.pack.layer import pack_layer
from envbuild.plan import make_plan
from envbuild.store import Store
from tests.pack.test_conda import locked
from tests.support.conda import CondaFile, File, make_conda
from tests.support.conda_channel import demo_packages
from tests.test_plan import conda_lock


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


def pack_conda(made: list[CondaFile], store: Store, folder: Path) -> dict[str, Packed]:
    """The conda layers of a lock of the packages ``made``, by key."""
    files = {}
    for package in made:
        files[package.sha256] = folder / package.filename
        files[package.sha256].write_bytes(package.data)
    plan = make_plan(conda_lock(tuple(locked(package) for package in made)), "linux/amd64", b"")
    return {
        layer.key: pack_layer(
            layer,
            {artifact.sha256: files[artifact.sha256] for artifact in layer.artifacts},
            store=store,
            compression="gzip",
            compiler=None,
        )
        for layer in plan.layers
        if isinstance(layer, CondaLayer)
    }


def test_scripts_that_are_not_run_are_named_also_when_the_layer_is_there_already(
    store: Store, tmp_path: Path
) -> None:
    harmless = make_conda("openmpi", files={"bin/.openmpi-post-link.sh": File(b"true\n", executable=True)})
    chosen = [
        made
        for made in demo_packages()
        if made.filename.startswith(("scripted-", "library-2", "fonts")) and made.subdir != "linux-aarch64"
    ]
    packed = pack_conda([harmless, *chosen], store, tmp_path)

    (note,) = [note for one in packed.values() for note in one.notes]
    assert note.startswith("the conda package scripted has a script that was not run, ")
    assert "`PREFIX=/srv/env bash /srv/env/bin/.scripted-post-link.sh` into postBuild" in note
    assert packed == {key: find_packed(store, key, "gzip") for key in packed}
