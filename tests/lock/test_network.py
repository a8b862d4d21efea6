"""The real package index: what is small, old and will not change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envbuild.errors import RepoError
from envbuild.fetch import Fetcher, Sources
from envbuild.lock.addresses import recall, remember, split_url
from envbuild.lock.locate import Locator
from envbuild.lock.model import Artifact
from envbuild.lock.sizes import measure
from envbuild.lock.uv import UvResolver
from envbuild.lock.uv_process import Uv
from envbuild.store import Store
from tests.lock.conftest import lines
from tests.lock.test_locate import lock_of
from tests.support.index import IndexedFile

pytestmark = pytest.mark.network


@pytest.fixture
def uv(tmp_path: Path) -> Uv:
    store = Store(tmp_path / "cache")
    store.prepare()
    return Uv(store, os.environ)


def test_resolve_measure_and_fetch(uv: Uv) -> None:
    pins = UvResolver(uv).resolve(
        lines("six==1.16.0", "packaging==24.0"), python="3.11.2", glibc="2.36", platform="linux/arm64"
    )
    measured = measure(pins, store=uv.store, known={})
    assert [("packaging", "24.0", 53488), ("six", "1.16.0", 11053)] == [
        (pin.name, pin.version, pin.size) for pin in measured
    ]
    remember(uv.store, uv.environment, [split_url(pin.url)[0] for pin in measured])
    addresses = Sources({"pypi": recall(uv.store, uv.environment)})
    with Fetcher(uv.store, addresses) as fetcher:
        for pin in measured:
            artifact = Artifact(pin.filename, pin.sha256, pin.size or 0, "pypi", split_url(pin.url)[1])
            assert pin.size == fetcher.fetch(artifact).stat().st_size


def test_a_wheel_is_found_again_without_its_address(uv: Uv) -> None:
    sha256 = "8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254"
    lock = lock_of(IndexedFile("six-1.16.0-py2.py3-none-any.whl", b"\0" * 11053, "", sha256))
    with Fetcher(uv.store, Sources({}), locate=Locator(lock, uv)) as fetcher:
        assert 11053 == fetcher.fetch(lock.targets[0].wheels[0].artifact).stat().st_size


def test_an_unknown_package_is_the_repositorys_fault(uv: Uv) -> None:
    asked = lines("six", "there-is-no-such-package-as-this-one")
    with pytest.raises(RepoError) as caught:
        UvResolver(uv).resolve(asked, python="3.11.2", glibc="2.36", platform="linux/amd64")
    assert ("unknown-package", "requirements.txt:2") == (caught.value.code, caught.value.place)
