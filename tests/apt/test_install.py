"""The step that installs Debian packages: what it gets to see, and what becomes of its failures."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from envbuild.apt.install import install
from envbuild.errors import RemoteError, RepoError
from envbuild.image.finding import StoredLayers
from envbuild.image.model import Blob, Image
from envbuild.layers import AptLayer
from envbuild.lock.model import Artifact, Deb
from envbuild.pack.tar import Entry, file
from envbuild.progress import Reporter, Silent
from envbuild.sandbox.model import Outcome, Step
from envbuild.sandbox.steps import StepLayers
from envbuild.store import Store
from tests.support.debian import PackageFile, make_deb

IMAGE = Image("linux/amd64", Blob("sha256:" + "0" * 64, 1), Blob("sha256:" + "1" * 64, 1), ())

PACKAGES = (
    make_deb(
        "dpkg",
        "1.22",
        fields={"Essential": "yes", "Pre-Depends": "libmd0"},
        files={"usr/bin/dpkg": b"dpkg", "usr/share/man/man1/dpkg.1.gz": b"manual"},
        executable=["usr/bin/dpkg"],
    ),
    make_deb("libmd0", "1.1", files={"lib/libmd.so.0": b"md"}),
    make_deb("git", "1:2.47", fields={"Depends": "git-man"}, files={"usr/bin/git": b"git"}),
    make_deb("git-man", "1:2.47", arch="all"),
)


@dataclass
class Stand:
    """Stands for a sandbox: keeps what the step got to see, and answers."""

    code: int = 0
    said: str = ""
    exceeded: str | None = None
    changes: tuple[Entry, ...] = ()
    steps: list[Step] = field(default_factory=list)
    seen: dict[str, bytes] = field(default_factory=dict)
    name: str = "stand"

    def unavailable(self) -> str | None:
        return None

    @contextmanager
    def execute(self, image: Image, step: Step, reporter: Reporter) -> Iterator[Outcome]:
        self.steps.append(step)
        for mount in step.mounts:
            assert not mount.writable
            for path in [mount.source] if mount.source.is_file() else sorted(mount.source.iterdir()):
                self.seen[path.name] = path.read_bytes()
        step.output.write_text(self.said)
        yield Outcome(self.code, self.exceeded, self.changes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "cache")
    store.prepare()
    return store


def _install(store: Store, stand: Stand, packages: Sequence[PackageFile] = PACKAGES, **wrong: str) -> str:
    """Install ``packages``; returns the layer's diff ID."""
    debs, files = [], {}
    for package in packages:
        path = store.artifact_path(package.sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(package.data)
        files[package.sha256] = path
        control = {**package.control, **wrong}
        artifact = Artifact(package.filename, package.sha256, len(package.data), "debian", "pool/x.deb")
        debs.append(Deb(control["Package"], control["Version"], control["Architecture"], artifact))
    steps = StepLayers(store, StoredLayers(store, "zstd"), lambda: stand, Silent())
    return install(AptLayer("linux/amd64", "base", tuple(debs)), files, IMAGE, steps).packed.diff_id


def test_packages_are_installed_in_order_by_root_without_network(store: Store) -> None:
    stand = Stand()

    _install(store, stand)

    (step,) = stand.steps
    assert ("root", False) == (step.user, step.network)
    assert ["/run/envbuild-debs", "/usr/sbin/policy-rc.d"] == [mount.target for mount in step.mounts]
    assert [
        "unpack libmd0.deb",
        "configure libmd0",
        "unpack dpkg.deb git.deb git-man.deb",
        "configure dpkg git git-man",
    ] == stand.seen["plan"].decode().splitlines()
    assert stand.seen["git.deb"] == PACKAGES[2].data
    assert b"exit 101" in stand.seen["policy-rc.d"]


def test_what_scripts_count_on_is_there_first(store: Store, tmp_path: Path) -> None:
    stand = Stand()

    _install(store, stand)

    (tmp_path / "first.tar").write_bytes(stand.seen["first.tar"])
    with tarfile.open(tmp_path / "first.tar") as archive:
        files = [member.name for member in archive if member.isreg()]
    assert ["usr/bin/dpkg", "usr/lib/libmd.so.0"] == files


def test_the_layer_is_tidy_and_made_once(store: Store, tmp_path: Path) -> None:
    stand = Stand(changes=(file("etc/passwd-", b"old"), file("usr/bin/git", b"git")))

    diff_id = _install(store, stand)

    other = Store(tmp_path / "other")
    other.prepare()
    assert diff_id == _install(other, Stand(changes=(file("usr/bin/git", b"git"),)))
    assert diff_id == _install(store, Stand(code=1))  # which is not run


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "Setting up git (2.47) ...\n"
            "dpkg: error processing package git (--configure):\n"
            " installed git package post-installation script subprocess returned error exit status 3\n",
            "the Debian package `git` cannot be installed in a container: installed git package"
            " post-installation script subprocess returned error exit status 3",
        ),
        (
            "dpkg: error processing archive libmd0.deb (--unpack):\n"
            " new libmd0:amd64 package pre-installation script subprocess returned error exit status 1\n",
            "the Debian package `libmd0` cannot be installed in a container: new libmd0:amd64 package"
            " pre-installation script subprocess returned error exit status 1",
        ),
        ("tar: out of space\n", "installing the Debian packages failed with exit code 1"),
    ],
)
def test_a_failure_names_the_package_and_the_script(store: Store, said: str, message: str) -> None:
    with pytest.raises(RepoError) as caught:
        _install(store, Stand(code=1, said=said))

    assert ("apt-failed", "apt.txt", message) == (caught.value.code, caught.value.file, caught.value.message)
    assert said.splitlines()[-1].strip() in (caught.value.detail or "")


def test_a_limit_that_was_exceeded_is_named(store: Store) -> None:
    with pytest.raises(RepoError, match="more than 1 GiB of memory") as caught:
        _install(store, Stand(code=137, exceeded="more than 1 GiB of memory"))

    assert "--step-memory" in (caught.value.remedy or "")


def test_another_package_under_the_locked_name_is_refused(store: Store) -> None:
    with pytest.raises(RemoteError) as caught:
        _install(store, Stand(), PACKAGES[3:], Version="9")

    assert "bad-deb" == caught.value.code
