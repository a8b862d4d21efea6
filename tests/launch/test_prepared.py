"""What is kept to start kernels quickly, and when it is no longer good."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from envbuild.engine.unpacked import Unpacked
from envbuild.launch.prepared import Prepared, lock_digest, prepared_key, read_prepared, write_prepared
from envbuild.store import Store
from tests.launch.conftest import PYTHON
from tests.support.engines import EMPTY_IMAGE

KEY = prepared_key(["/repository"])


@pytest.fixture
def prepared(store: Store, tmp_path: Path) -> Prepared:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "envbuild.lock").write_text("one")
    place = store.trees / "a"
    (place / "tree").mkdir(parents=True)
    (place / "about").touch()
    tool = tmp_path / "bwrap"
    tool.touch()
    unpacked = Unpacked((str(tool),), (str(place / "tree"),), ("PATH=/bin",), ("/init",))
    return Prepared(
        "project", repository, lock_digest(repository), "bubblewrap", asdict(EMPTY_IMAGE), unpacked, (PYTHON,)
    )


def test_it_is_kept_and_read(store: Store, prepared: Prepared) -> None:
    write_prepared(store, KEY, prepared)

    found = read_prepared(store, KEY)

    assert found is not None
    assert (prepared.repository, prepared.unpacked, (PYTHON,)) == (
        found.repository,
        found.unpacked,
        found.kernels,
    )
    assert found.is_current()
    assert read_prepared(store, prepared_key(["/other"])) is None


def test_kernels_are_found_by_their_names_on_this_machine(prepared: Prepared) -> None:
    """Also when notebooks that were saved with such a name have given it to the image."""
    r = replace(PYTHON, names=("project-ir",))
    several = replace(prepared, kernels=(PYTHON, r, replace(PYTHON, names=("bash",))))

    assert [("project", "python3"), ("project-ir",), ("bash",), None] == [
        kernel and kernel.names
        for kernel in map(several.kernel, ("project", "project-ir", "project-bash", "bash"))
    ]


def test_another_lock_makes_it_out_of_date(prepared: Prepared) -> None:
    (prepared.repository / "envbuild.lock").write_text("two")
    assert not prepared.is_current()


def test_no_link_is_followed_for_the_lock(prepared: Prepared, tmp_path: Path) -> None:
    lock = prepared.repository / "envbuild.lock"
    lock.rename(tmp_path / "lock")
    lock.symlink_to(tmp_path / "lock")
    assert ("", False) == (lock_digest(prepared.repository), prepared.is_current())


def test_without_its_files_it_is_out_of_date(store: Store, prepared: Prepared) -> None:
    (store.trees / "a" / "about").unlink()
    assert not prepared.is_current()


def test_files_written_before_the_machine_was_started_anew_are_read_first(
    store: Store, prepared: Prepared
) -> None:
    (store.trees / "a" / "boot").write_text("another boot")
    assert not prepared.is_current()


def test_without_bubblewrap_it_is_out_of_date(prepared: Prepared, tmp_path: Path) -> None:
    (tmp_path / "bwrap").unlink()
    assert not prepared.is_current()
    assert replace(prepared, unpacked=None).is_current()
