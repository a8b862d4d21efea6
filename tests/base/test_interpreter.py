from __future__ import annotations

import functools
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from envbuild.base.host import host_platform
from envbuild.base.interpreter import interpreter, unpack_debs
from envbuild.base.locking import lock_debs
from envbuild.base.mirrors import find_mirrors
from envbuild.base.recipe import BaseRecipe, load_recipes
from envbuild.base.signed import check_signed
from envbuild.errors import MachineError
from envbuild.fetch import Fetcher, Sources
from envbuild.lock.model import Artifact, Base, Deb
from envbuild.progress import Silent
from envbuild.store import Store
from tests.support.debian import PackageFile, make_deb


def put(store: Store, package: PackageFile) -> Deb:
    """Keep ``package`` where a fetcher would have put it."""
    store.artifact_path(package.sha256).write_bytes(package.data)
    artifact = Artifact(package.filename, package.sha256, len(package.data), "debian")
    return Deb(package.control["Package"], package.control["Version"], "amd64", artifact)


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [
        ("linux", "x86_64", "linux/amd64"),
        ("linux", "aarch64", "linux/arm64"),
        ("linux", "AMD64", "linux/amd64"),
    ],
)
def test_machines_with_a_base(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, expected: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)

    assert expected == host_platform()


@pytest.mark.parametrize(
    ("system", "machine"), [("darwin", "arm64"), ("linux", "riscv64"), ("win32", "AMD64")]
)
def test_machines_without(monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)

    with pytest.raises(MachineError) as caught:
        host_platform()

    assert "unsupported-machine" == caught.value.code
    assert caught.value.remedy


def test_what_is_unpacked(store: Store, tmp_path: Path) -> None:
    """Files below /usr, from merged and unmerged packages; no links that would lead to the host's files."""
    deb = put(
        store,
        make_deb(
            "libx",
            files={
                "lib/libx.so.1.2": b"library",
                "usr/bin/tool": b"program",
                "usr/share/doc/libx/copyright": b"free",
                "etc/libx.conf": b"configuration",
            },
            executable=["usr/bin/tool"],
            links={"usr/lib/libx.so.1": "libx.so.1.2", "usr/lib/site.py": "/etc/site.py"},
            hardlinks={"usr/bin/same": "./usr/bin/tool"},
        ),
    )
    root = tmp_path / "root"
    root.mkdir()

    unpack_debs([deb], root, lambda artifact: store.artifact_path(artifact.sha256))

    found = {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}
    assert {"usr/lib/libx.so.1", "usr/lib/libx.so.1.2", "usr/bin/tool", "usr/bin/same"} == found
    assert b"library" == (root / "usr/lib/libx.so.1").read_bytes()
    assert (0o755, 0o644) == (
        (root / "usr/bin/tool").stat().st_mode & 0o7777,
        (root / "usr/lib/libx.so.1.2").stat().st_mode & 0o7777,
    )


def test_nothing_is_written_through_a_link(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    first = put(store, make_deb("a", links={"usr/lib/way": f"../../../../{outside.name}"}))
    second = put(store, make_deb("b", files={"usr/lib/way/file": b"evil"}))

    (tmp_path / "root").mkdir()

    with pytest.raises(OSError, match="exists"):
        unpack_debs([first, second], tmp_path / "root", lambda artifact: store.artifact_path(artifact.sha256))

    assert [] == list(outside.iterdir())


@pytest.mark.network
@pytest.mark.parametrize("recipe", load_recipes(), ids=lambda recipe: recipe.name)
def test_the_real_pythons_run_and_use_nothing_of_the_host(recipe: BaseRecipe, store: Store) -> None:
    mirrors = find_mirrors(at=datetime.now(UTC))
    locked = lock_debs(recipe, store=store, mirrors=mirrors, reporter=Silent())
    base = Base(
        recipe.name, recipe.suite, locked.python, recipe.glibc, locked.debs, {}, "2026-11-20T00:00:00Z"
    )
    sources = Sources({"debian": mirrors.debian, "debian-security": mirrors.security})
    with Fetcher(store, sources) as fetcher:
        check = functools.partial(check_signed, base=base, store=store, mirrors=mirrors, reporter=Silent())
        python = interpreter(base, store=store, fetch=fetcher.fetch, check=check)
        again = interpreter(
            base,
            store=store,
            fetch=lambda _: pytest.fail("fetched twice"),
            check=lambda debs, architecture: pytest.fail("checked twice"),
        )
    program = (
        "import sys, zipfile, lzma, bz2, zlib, hashlib, ctypes\n"
        "print('.'.join(map(str, sys.version_info[:3])), *sys.path)\n"
        "print(*{line.split()[-1] for line in open('/proc/self/maps') if '.so' in line})\n"
    )

    outcome = subprocess.run(
        [*python.command, "-P", "-S", "-c", program],
        env=python.environment,
        capture_output=True,
        text=True,
        check=True,
    )

    version, libraries = outcome.stdout.splitlines()
    root = str(store.interpreters / python.key)
    assert python == again
    assert locked.python == version.split()[0]
    assert [] == [path for path in [*version.split()[1:], *libraries.split()] if not path.startswith(root)]
