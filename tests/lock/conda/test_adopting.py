"""``conda-lock.yml`` and ``pixi.lock`` taken over, with a channel and an index on 127.0.0.1."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from envbuild.errors import EnvbuildError
from envbuild.fetch import Fetcher, Sources
from envbuild.lock.lockfile import dump_lock
from envbuild.lock.model import Lock
from envbuild.source import Repo
from envbuild.spec import read_spec
from envbuild.store import Store
from tests.lock.test_make import Maker
from tests.support.conda import CondaFile
from tests.support.conda_channel import ChannelServer, demo_packages
from tests.support.index import Index, make_wheel

NAMES = ("python-3.11.9-", "tornado-6.4-")


@dataclass
class Adopting:
    """A repository with a lock, and where the channel it is of is."""

    root: Path
    maker: Maker
    server: ChannelServer
    six: str

    def lock(self, name: str, text: str) -> Lock:
        """Lock the repository, which has ``text`` in the file ``name``."""
        (self.root / name).write_text(text)
        mirrors = {"conda-forge": self.server.url}
        return self.maker(read_spec(self.maker.repo), channel_mirrors=mirrors)


def _packages(*names: str) -> list[CondaFile]:
    return [
        package
        for package in demo_packages()
        if package.subdir in ("linux-64", "noarch") and package.filename.startswith(names)
    ]


@pytest.fixture
def adopting(index: Index, store: Store, environment: dict[str, str], tmp_path: Path) -> Iterator[Adopting]:
    for name in ("ipykernel", "pip"):
        index.add(make_wheel(name))
    index.add(make_wheel("jupyterlab", "4.0"))
    six = hashlib.sha256(index.add(make_wheel("six")).data).hexdigest()
    root, channel = tmp_path / "repository", tmp_path / "channel"
    root.mkdir()
    for package in demo_packages():
        (channel / package.subdir).mkdir(parents=True, exist_ok=True)
        (channel / package.subdir / package.filename).write_bytes(package.data)
    with ChannelServer(channel) as server:
        yield Adopting(root, Maker(Repo(root), store, environment), server, six)


def conda_lock(packages: list[CondaFile], six: str) -> str:
    lines = [
        "version: 1",
        "metadata: {channels: [{url: conda-forge, used_env_vars: []}], platforms: [linux-64]}",
        "package:",
    ]
    for package in packages:
        name, version = package.filename.split("-")[:2]
        lines += [
            f"- name: {name}",
            f"  version: '{version}'",
            "  manager: conda",
            "  platform: linux-64",
            f"  url: https://conda.anaconda.org/conda-forge/{package.subdir}/{package.filename}",
            f"  hash: {{sha256: {hashlib.sha256(package.data).hexdigest()}}}",
            "  category: main",
        ]
    lines += [
        "- name: six",
        "  version: '1.0'",
        "  manager: pip",
        "  platform: linux-64",
        "  url: https://example.org/six-1.0-py3-none-any.whl",
        f"  hash: {{sha256: {six}}}",
        "  category: main",
    ]
    return "\n".join(lines) + "\n"


def pixi_lock(packages: list[CondaFile], six: str) -> str:
    wheel = "https://example.org/six-1.0-py3-none-any.whl"
    urls = {
        f"https://conda.anaconda.org/conda-forge/{package.subdir}/{package.filename}": package
        for package in packages
    }
    lines = [
        "version: 6",
        "environments:",
        "  default:",
        "    channels:",
        "    - url: https://conda.anaconda.org/conda-forge/",
        "    packages:",
        "      linux-64:",
        *(f"      - conda: {url}" for url in urls),
        f"      - pypi: {wheel}",
        "packages:",
    ]
    for url, package in urls.items():
        sha256 = hashlib.sha256(package.data).hexdigest()
        lines += [f"- conda: {url}", f"  sha256: {sha256}", f"  size: {len(package.data)}"]
        lines += ["  noarch: python"] if package.subdir == "noarch" else []
    lines += [f"- pypi: {wheel}", "  name: six", "  version: '1.0'", f"  sha256: {six}"]
    return "\n".join(lines) + "\n"


def pins(lock: Lock) -> dict[str, str]:
    """The digests of the conda packages, by name."""
    return {package.name: package.artifact.sha256 for package in lock.target("linux/amd64").conda}


def wheels(lock: Lock) -> list[str]:
    return [wheel.name for wheel in lock.target("linux/amd64").wheels]


def test_a_pixi_lock_is_taken_over_without_asking_the_channel(adopting: Adopting) -> None:
    packages = _packages(*NAMES, "ipykernel-", "pip-")
    lock = adopting.lock("pixi.lock", pixi_lock(packages, adopting.six))

    assert {hashlib.sha256(package.data).hexdigest() for package in packages} == set(pins(lock).values())
    assert (4, ["six"]) == (len(packages), wheels(lock))
    assert [] == adopting.server.requests
    assert ("python-3.11", "3.11.9") == (lock.base.recipe, lock.target("linux/amd64").conda_python)
    assert b"://" not in dump_lock(lock)


@pytest.mark.parametrize("kind", ["conda-lock.yml", "pixi.lock"])
def test_a_kernel_is_added_and_no_pin_is_changed(adopting: Adopting, kind: str) -> None:
    packages = _packages(*NAMES)
    write = conda_lock if kind == "conda-lock.yml" else pixi_lock
    lock = adopting.lock(kind, write(packages, adopting.six))

    assert {
        package.filename.split("-")[0]: hashlib.sha256(package.data).hexdigest() for package in packages
    } == pins(lock)
    assert ["ipykernel", "pip", "six"] == wheels(lock)
    (six,) = [one for one in lock.target("linux/amd64").wheels if one.name == "six"]
    assert adopting.six == six.artifact.sha256


def test_a_conda_package_that_is_not_the_locked_one_is_refused(adopting: Adopting) -> None:
    """Locking asks for sizes only; the file is held to its hash before anything is made of it."""
    packages = _packages(*NAMES)
    digest = hashlib.sha256(packages[0].data).hexdigest()
    text = conda_lock(packages, adopting.six).replace(digest, "0" * 64)
    lock = adopting.lock("conda-lock.yml", text)
    (artifact,) = [
        one.artifact for one in lock.target("linux/amd64").conda if one.artifact.sha256 == "0" * 64
    ]

    sources = Sources({"conda-forge": (adopting.server.url,)})
    with Fetcher(adopting.maker.store, sources) as fetcher, pytest.raises(EnvbuildError) as caught:
        fetcher.fetch(artifact)

    assert artifact.filename in caught.value.message
    assert digest in f"{caught.value.message} {caught.value.detail}"


def test_a_wheel_that_is_not_the_locked_one_is_refused(adopting: Adopting) -> None:
    text = conda_lock(_packages(*NAMES), "0" * 64)
    with pytest.raises(EnvbuildError) as caught:
        adopting.lock("conda-lock.yml", text)

    assert "conda-lock.yml" == caught.value.file
    assert "six" in caught.value.message
