"""What can be imported from artifacts: in the cache, from parts of remote files, and not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.contents.modules import Modules
from envbuild.contents.names import importable
from envbuild.errors import RemoteError
from envbuild.lock.model import Artifact, CondaPackage, Wheel
from envbuild.store import Store
from tests.support.conda import make_conda
from tests.support.index import Index, make_wheel

FILES = {"PIL/__init__.py": b"", "PIL/Image.py": b"", "six.py": b"", "pillow-1.0.data/scripts/tool.py": b""}
WHEEL = make_wheel("pillow", files=FILES, padding=200_000)
ARTIFACT = Artifact(WHEEL.filename, WHEEL.sha256, len(WHEEL.data), "pypi", WHEEL.filename)
PACKAGE = Wheel("pillow", "1.0", ARTIFACT)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.prepare()
    return store


@pytest.mark.parametrize(
    ("paths", "roots"),
    [
        (["a.py", "b.cpython-311-x86_64-linux-gnu.so", "c.abi3.so", "d.pyc"], {"a", "b", "c", "d"}),
        (["a/__init__.py", "a/b/c.py", "a/d/__init__.py"], {"a"}),
        (["n/a/__init__.py", "n/b/c.py"], {"n.a", "n.b.c"}),
        (["x-1.data/purelib/a.py", "x-1.data/platlib/b.so", "x-1.data/scripts/c.py"], {"a", "b"}),
        (["a-b/c.py", "x-1.dist-info/METADATA", "stubs/a.pyi", "a/__pycache__/b.pyc", "__init__.py"], set()),
        (["a/__init__.cpython-311-x86_64-linux-gnu.so", "a/b.py"], {"a"}),
    ],
)
def test_names(paths: list[str], roots: set[str]) -> None:
    assert roots == importable(paths)


def test_a_wheel_in_the_cache(store: Store) -> None:
    store.artifact_path(WHEEL.sha256).write_bytes(WHEEL.data)
    assert {"pillow": {"PIL", "six"}} == Modules(store).of([PACKAGE])


@pytest.mark.parametrize("tar_bz2", [False, True])
@pytest.mark.parametrize("place", ["site-packages", "lib/python3.11/site-packages"])
def test_a_conda_package(store: Store, place: str, tar_bz2: bool) -> None:
    made = make_conda("six", files={f"{place}/six.py": b"", "bin/tool.py": b""}, tar_bz2=tar_bz2)
    artifact = Artifact(made.filename, made.sha256, len(made.data), "conda-forge", made.filename)
    store.artifact_path(made.sha256).write_bytes(made.data)
    assert {"six": {"six"}} == Modules(store).of([CondaPackage("six", "1.0", "0", "noarch", artifact)])


def test_only_the_end_of_a_remote_wheel_is_fetched_and_only_once(store: Store) -> None:
    with Index() as index:
        url = index.base + index.add(WHEEL).path
        modules = Modules(store, lambda: lambda artifact: url)
        modules.fetch([PACKAGE])
        assert {"pillow": {"PIL", "six"}} == modules.of([PACKAGE])
        Modules(store, lambda: lambda artifact: url).fetch([PACKAGE])

    size = len(WHEEL.data)
    assert [f"bytes={size - 65536}-{size - 1}"] == index.ranges
    assert not store.artifact_path(WHEEL.sha256).exists()
    assert {"pillow": {"PIL", "six"}} == Modules(store).of([PACKAGE])


@pytest.mark.parametrize("trouble", ["no ranges", "gone", "another file"])
def test_what_cannot_be_had_stays_unknown(store: Store, trouble: str) -> None:
    with Index(ranges=trouble != "no ranges") as index:
        entry = index.add(WHEEL if trouble != "another file" else make_wheel("other", padding=300_000))
        if trouble == "gone":
            index.gone.add("/" + entry.path)
        modules = Modules(store, lambda: lambda artifact: index.base + entry.path)
        modules.fetch([PACKAGE])
    assert {} == modules.of([PACKAGE])


def test_no_network_and_damage(store: Store) -> None:
    def addresses() -> Callable[[Artifact], str]:
        raise RemoteError("no index", code="index-unreachable")

    store.artifact_path(WHEEL.sha256).write_bytes(WHEEL.data[:1000])
    modules = Modules(store, addresses)
    modules.fetch([PACKAGE])
    assert {} == modules.of([PACKAGE])
