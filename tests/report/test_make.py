"""From images and repositories to reports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from envbuild.errors import DamagedError
from envbuild.image.config import canonical, image_config, image_manifest
from envbuild.image.model import Image, Layer
from envbuild.inspection.inspector import Inspector, Seen
from envbuild.inspection.layout import CachedImage
from envbuild.layers import GLUE_TITLE
from envbuild.lock.lockfile import dump_lock
from envbuild.lock.model import Artifact, Built, Deb, Lock
from envbuild.pack.blob import pack_entries
from envbuild.pack.glue import glue_entries
from envbuild.pack.tar import Entry, complete, file
from envbuild.plan import make_plan
from envbuild.progress import Silent
from envbuild.report.make import image_report, repository_report
from envbuild.report.model import Report
from envbuild.report.page import page
from envbuild.source import Origin, Repo
from envbuild.spec.model import AptPackage, Notebook, Requirement, Spec
from envbuild.store import Store
from envbuild.store.images import StoredImage
from tests.report.examples import debian_files, debian_layer, wheel_files
from tests.support.images import make_image
from tests.support.locks import PLATFORM, small_lock, small_wheel

LOCK = small_lock(small_wheel("numpy", "2.0", direct=True), small_wheel("pandas", "3.0"))
SERVER = "srv/jupyter/lib/python3.11/site-packages"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "cache")
    store.prepare()
    return store


def _ours(store: Store, lock: Lock = LOCK) -> Image:
    """An image with packages as they are installed; pandas has no metadata."""
    data = dump_lock(lock)
    contents: dict[str, list[Entry]] = {
        "libc6": [*debian_files("libc6", "2.36-9", "usr/lib/libc.so.6"), file("etc/hosts", b"1234")],
        "jupyterlab": wheel_files("jupyterlab", "4.0", "jupyterlab.py", site=SERVER),
        "numpy": wheel_files("numpy", "2.0", "numpy/core.py", "numpy/big.so"),
        "pcre": debian_layer(
            debian_files("pcre", "1", "usr/lib/pcre.so"), debian_files("tree", "1", "usr/bin/tree")
        ),
        "tree": [],
        "pandas": [file("srv/env/lib/python3.11/site-packages/pandas.py", b"x")],
    }
    glue = glue_entries(
        name=lock.name,
        display_name=lock.display_name,
        python=lock.base.python,
        executable=lock.base.executable(PLATFORM),
        kernels=lock.kernels,
        lock=data,
        environment="env-0123456789abcdef",
        own_server=False,
    )
    layers = []
    for planned in make_plan(lock, PLATFORM, data).layers:
        names = [package.partition("==")[0] for package in planned.packages]
        entries = [entry for name in names for entry in contents[name]] if names else list(glue)
        packed = pack_entries(store, complete(entries), "zstd")
        layers.append(Layer.of(packed, planned.title, planned.packages, key=planned.key))
    assert GLUE_TITLE == layers[-1].title
    config = image_config(
        lock,
        platform=PLATFORM,
        env="env-0123456789abcdef",
        lock_digest="sha256:" + hashlib.sha256(data).hexdigest(),
        layers=layers,
    )
    blob = store.put_blob(canonical(config))
    manifest = image_manifest(config, layers, config_digest=blob.digest, config_size=blob.size)
    return Image(PLATFORM, blob, store.put_blob(canonical(manifest)), tuple(layers))


def _seen(store: Store, image: Image) -> tuple[Seen, CachedImage]:
    def none() -> object:
        raise AssertionError("no registry is needed")

    def no_source(text: str) -> Repo:
        raise AssertionError(text)

    named = StoredImage("demo:environment", image.platform, image.manifest, datetime.now(UTC))
    medium = CachedImage(store, (named,), none)  # type: ignore[arg-type]
    looking = Inspector(store, none, no_source, Silent())  # type: ignore[arg-type]
    return looking.look_into(medium, "cache", (image.platform,)), medium


@pytest.fixture
def about_ours(store: Store) -> Report:
    seen, medium = _seen(store, _ours(store))
    return image_report(seen, medium, store, Silent())


def test_layers_packages_and_parts(about_ours: Report) -> None:
    (platform,) = about_ours.platforms

    assert [
        ("operating system and Python", "system", ["libc6"]),
        ("jupyterlab", "server", ["jupyterlab"]),
        ("numpy", "environment", ["numpy"]),
        ("pandas", "environment", ["pandas"]),
        (GLUE_TITLE, "other", []),
    ] == [(layer.title, layer.part, [one.name for one in layer.packages]) for layer in platform.layers]
    (status,) = [entry for entry in debian_files("libc6", "2.36-9") if entry.path == b"var/lib/dpkg/status"]
    assert len(b"1234") + status.size == platform.layers[0].rest
    assert ["demo", "python3"] == [kernel.name for kernel in platform.kernels]


def test_packages_of_apt_txt_and_projects_are_asked_for(store: Store) -> None:
    """One Debian package was asked for, and another one came with it."""
    tree, pcre = (
        Deb(
            name,
            "1",
            "amd64",
            Artifact(f"{name}_1_amd64.deb", digit * 64, 5, "debian"),
            direct=name == "tree",
        )
        for name, digit in (("tree", "4"), ("pcre", "5"))
    )
    project = Built("numpy", "path", ".")
    wheel = small_wheel("numpy", "2.0")
    target = replace(LOCK.targets[0], wheels=(wheel,), apt=(pcre, tree), built=(project,))

    seen, medium = _seen(store, _ours(store, replace(LOCK, targets=(target,))))
    assert [None] == [image.inside.trouble for image in seen.images]
    report = image_report(seen, medium, store, Silent())

    assert [("tree", True), ("pcre", False)] == [
        (row.package.name, row.package.direct) for row in report.rows("apt")
    ]
    assert [("numpy", True)] == [(row.package.name, row.package.direct) for row in report.rows("environment")]
    assert ["libc6"] == [row.package.name for row in report.rows("system")]


def test_what_a_package_does_not_say_is_not_known(about_ours: Report) -> None:
    """pandas is said to be in its layer, and has not left a trace there."""
    numpy, pandas = about_ours.rows("environment")

    assert (True, "About numpy", "MIT") == (
        numpy.package.direct,
        numpy.package.summary,
        numpy.package.licence.text if numpy.package.licence else None,
    )
    assert ("3.0", "wheel", None, None) == (
        pandas.package.version,
        pandas.package.kind,
        pandas.package.size,
        pandas.package.licence,
    )


def test_facts_name_the_lock_the_base_and_the_image(about_ours: Report) -> None:
    facts = {fact.name: fact.value for fact in about_ours.facts}

    assert "3.11.2" == facts["Python"]
    assert "python-3.11 (Debian bookworm, glibc 2.36)" == facts["Base"]
    assert "2026-01-01T00:00:00Z, by uv" == facts["Locked"]
    assert "sha256:" + hashlib.sha256(dump_lock(LOCK)).hexdigest() == facts["Lock"]
    assert about_ours.platforms[0].image_id == facts["Image ID"]
    assert () == about_ours.unknown


def test_layers_are_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found is remembered, and gives the same page."""
    seen, medium = _seen(store, _ours(store))
    first = page(image_report(seen, medium, store, Silent()))

    def never(layer: Callable[[], object]) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("envbuild.report.reading.read_contents", never)

    assert first == page(image_report(seen, medium, store, Silent()))


def test_what_is_remembered_in_another_form_is_read_again(store: Store) -> None:
    seen, medium = _seen(store, _ours(store))
    first = image_report(seen, medium, store, Silent())
    for record in store.actions.iterdir():
        value = store.record(record)
        if isinstance(value, dict) and "contents" in value:
            store.put_record(record, {**value, "contents": {"packages": "?"}})

    assert first == image_report(seen, medium, store, Silent())


def test_a_damaged_layer_of_the_cache_is_removed(store: Store) -> None:
    """So that doing the same again mends it."""
    image = _ours(store)
    seen, medium = _seen(store, image)
    blob = store.blob_path(image.layers[0].digest)
    data = blob.read_bytes()
    blob.write_bytes(data[:-20] + bytes(20))

    with pytest.raises(DamagedError):
        image_report(seen, medium, store, Silent())

    assert not blob.exists()


def test_an_image_of_others_is_what_package_managers_noted(store: Store) -> None:
    entries = [
        *wheel_files("six", "1.17", "six.py", site="usr/local/lib/python3.12/site-packages"),
        *debian_files("libc6", "2.36-9", "usr/lib/libc.so.6"),
    ]
    seen, medium = _seen(store, make_image(store, [entries]))

    report = image_report(seen, medium, store, Silent())

    assert ["six"] == [row.package.name for row in report.rows("environment")]
    assert ["libc6"] == [row.package.name for row in report.rows("system")]
    assert 2 == len(report.unknown)
    assert "not assembled by envbuild" in page(report)


def test_a_repository_has_notebooks_and_commands(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "it's here"
    root.mkdir()
    (root / "a b.ipynb").write_text(json.dumps({"nbformat": 4, "metadata": {}, "cells": []}))
    seen, medium = _seen(store, _ours(store))
    spec = Spec("demo", "Demo", notebooks=(Notebook("a b.ipynb", "python3", "python", None, ()),))
    origin = Origin("https://example.org/r.git", "c" * 40, "r", subdirectory="my dir", tracked=True)

    def lines(repo: Repo) -> list[str]:
        made = repository_report(seen, medium, store, Silent(), repo=repo, spec=spec)
        assert ["a b.ipynb"] == [notebook.path for notebook in made.notebooks or ()]
        return [command.line for command in made.commands]

    assert [
        "envbuild up --locked",
        "envbuild run 'a b.ipynb' --locked",
        "envbuild build --locked --platform linux/amd64",
        "envbuild report --locked --platform linux/amd64 -o report.html",
    ] == lines(Repo(root))
    source = f"'https://example.org/r.git#{'c' * 40}'"
    assert f"envbuild up {source} --subdir 'my dir' --locked" == lines(Repo(root, origin))[0]
    assert f"envbuild run {source} 'a b.ipynb' --subdir 'my dir' --locked" == lines(Repo(root, origin))[1]


def test_files_and_addresses_of_a_repository_are_facts(store: Store, tmp_path: Path) -> None:
    seen, medium = _seen(store, _ours(store))
    asked = (Requirement("numpy", "requirements.txt", 1), Requirement("pandas", "requirements.txt", 2))
    origin = Origin("https://example.org/r.git", "c" * 40, "r", tracked=True)

    def facts(spec: Spec) -> list[tuple[str, str]]:
        repo = Repo(tmp_path, origin)
        made = repository_report(seen, medium, store, Silent(), repo=repo, spec=spec)
        return [(fact.name, fact.value) for fact in made.facts][:3]

    source = [("Source", "https://example.org/r.git"), ("Revision", "c" * 40)]
    assert [*source, ("Asked for in", "apt.txt, requirements.txt")] == facts(
        Spec("demo", "Demo", requirements=asked, apt=(AptPackage("git", "apt.txt", 1),))
    )
    assert [*source, ("Asked for in", "imports of the notebooks")] == facts(
        Spec("demo", "Demo", requirements=asked, inferred=True)
    )


def test_several_platforms_have_an_image_each(store: Store) -> None:
    """What differs between them is in the facts, and others that are locked are named."""
    lock = replace(LOCK, targets=(*LOCK.targets, replace(LOCK.targets[0], platform="linux/arm64")))
    debs, server = (one | {"linux/arm64": one[PLATFORM]} for one in (lock.base.debs, lock.base.server))
    lock = replace(lock, base=replace(lock.base, debs=debs, server=server))
    seen, medium = _seen(store, _ours(store, lock))

    report = image_report(replace(seen, platforms=("linux/amd64", "linux/arm64")), medium, store, Silent())

    assert ("Also locked for", "linux/arm64") in [(fact.name, fact.value) for fact in report.facts]
