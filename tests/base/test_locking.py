from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from envbuild.base.locking import MAX_AGE_SECONDS, LockedDebs, lock_debs, resolve_tool
from envbuild.base.mirrors import Mirrors, find_mirrors
from envbuild.base.recipe import BaseRecipe, load_recipes
from envbuild.errors import RemoteError
from envbuild.progress import Silent
from envbuild.store import Store
from tests.support.debian import DebianArchive, make_deb

RECIPE = BaseRecipe(
    name="test",
    python="3.13.5",
    suite="trixie",
    glibc="2.40",
    platforms=("linux/amd64", "linux/arm64"),
    packages=("python3.13",),
    excluded={"perl-base": "a test"},
    scripts={},
    server=(),
    digest="0",
)


def fill(archive: DebianArchive, *, arm64: str = "3.13.5-2") -> None:
    fields = {"Depends": "libc6 (>= 2.38), perl-base"}
    archive.add(
        "trixie",
        make_deb("python3.13", "3.13.5-2", fields=fields),
        make_deb("python3.13", arm64, arch="arm64", fields=fields),
        make_deb("libc6", "2.41-12"),
        make_deb("libc6", "2.41-12", arch="arm64"),
    )
    archive.add("trixie-security", make_deb("libc6", "2.41-12+deb13u1"))
    archive.publish()


def lock(
    store: Store,
    mirrors: Mirrors,
    recipe: BaseRecipe = RECIPE,
    *,
    refresh: bool = False,
    offline: bool = False,
) -> LockedDebs:
    return lock_debs(
        recipe, store=store, mirrors=mirrors, reporter=Silent(), refresh=refresh, offline=offline
    )


def test_offline_any_earlier_answer_will_do_and_none_is_an_error(
    archive: DebianArchive, store: Store, mirrors: Mirrors
) -> None:
    fill(archive)
    with pytest.raises(RemoteError, match="offline"):
        lock(store, mirrors, offline=True)

    first = lock(store, mirrors)
    for answer in store.debian.glob("*.json"):
        os.utime(answer, (0, 0))

    assert first == lock(store, mirrors, offline=True)


def test_lock_debs(archive: DebianArchive, store: Store, mirrors: Mirrors) -> None:
    fill(archive)

    locked = lock(store, mirrors)

    assert "3.13.5" == locked.python
    assert {
        "linux/amd64": [
            ("libc6", "2.41-12+deb13u1", "debian-security"),
            ("python3.13", "3.13.5-2", "debian"),
        ],
        "linux/arm64": [("libc6", "2.41-12", "debian"), ("python3.13", "3.13.5-2", "debian")],
    } == {
        platform: [(deb.name, deb.version, deb.artifact.source) for deb in debs]
        for platform, debs in locked.debs.items()
    }


def test_the_days_answer_asks_nobody(archive: DebianArchive, store: Store, mirrors: Mirrors) -> None:
    fill(archive)
    first = lock(store, mirrors)
    archive.requests.clear()

    second = lock(store, mirrors)

    assert (first, []) == (second, archive.requests)


def test_refresh_asks_again(archive: DebianArchive, store: Store, mirrors: Mirrors) -> None:
    fill(archive)
    lock(store, mirrors)
    archive.add("trixie-updates", make_deb("libc6", "2.42-1", arch="arm64"))
    archive.publish()

    assert "2.42-1" == lock(store, mirrors, refresh=True).debs["linux/arm64"][0].version


@pytest.mark.parametrize("age", [MAX_AGE_SECONDS + 60, -60])
def test_an_answer_of_another_day_asks_for_the_releases_only(
    archive: DebianArchive, store: Store, mirrors: Mirrors, age: int
) -> None:
    """An hour that lies in the future counts as another day as well: a clock was wrong."""
    fill(archive)
    first = lock(store, mirrors)
    for path in store.debian.glob("*.json"):
        os.utime(path, (time.time() - age,) * 2)
    archive.requests.clear()

    assert first == lock(store, mirrors)
    assert ["InRelease"] * 3 == [path.rpartition("/")[2] for path in archive.requests]


def test_a_changed_recipe_is_another_question(archive: DebianArchive, store: Store, mirrors: Mirrors) -> None:
    fill(archive)
    lock(store, mirrors)

    locked = lock(store, mirrors, replace(RECIPE, excluded={"perl-base": "", "libc6": ""}, digest="1"))

    assert ["python3.13"] == [deb.name for deb in locked.debs["linux/amd64"]]


def test_a_damaged_answer_is_asked_again(archive: DebianArchive, store: Store, mirrors: Mirrors) -> None:
    fill(archive)
    first = lock(store, mirrors)
    for number, path in enumerate(sorted(store.debian.glob("*.json"))):
        path.write_text(['{"amd64": [{}]}', "[]", "{"][number % 3])

    assert first == lock(store, mirrors)


def test_two_versions_of_python_at_once_are_refused(
    archive: DebianArchive, store: Store, mirrors: Mirrors
) -> None:
    fill(archive, arm64="3.13.6-1")

    with pytest.raises(RemoteError, match=r"different versions of python3\.13"):
        lock(store, mirrors)


def test_resolve_tool(archive: DebianArchive, store: Store, mirrors: Mirrors) -> None:
    fill(archive)
    archive.add("trixie", make_deb("bubblewrap", "0.11.0-2", fields={"Depends": "libc6, libselinux1"}))
    archive.publish()

    debs = resolve_tool(
        "trixie",
        "amd64",
        ("bubblewrap",),
        excluded={"libselinux1": "a test"},
        store=store,
        mirrors=mirrors,
        reporter=Silent(),
    )

    assert ["bubblewrap", "libc6"] == [deb.name for deb in debs]


@pytest.mark.network
@pytest.mark.parametrize("recipe", load_recipes(), ids=lambda recipe: recipe.name)
def test_the_real_bases_can_be_locked(recipe: BaseRecipe, store: Store, tmp_path: Path) -> None:
    from datetime import UTC, datetime

    locked = lock(store, find_mirrors(at=datetime.now(UTC)), recipe)

    assert recipe.python == locked.python
    for debs in locked.debs.values():
        names = {deb.name for deb in debs}
        assert {"bash", "libc6", f"python{recipe.python_minor}", "tini"} <= names
        assert set() == names & set(recipe.excluded)
        assert 80 > len(names)
