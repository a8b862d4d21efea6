"""Exports: other tools read them, and get exactly what is locked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli
from packaging.pylock import Pylock

from envbuild.errors import RepoError, UsageError
from envbuild.lock.addresses import remember
from envbuild.lock.export import FORMATS, check_name, export
from envbuild.lock.model import Artifact, Built, CondaPackage, Lock, Target, Wheel
from envbuild.lock.select import marker_environment, target_tags
from envbuild.lock.sources import lock_addresses
from envbuild.store import Store
from tests.support.index import Index, IndexedFile, make_wheel
from tests.support.locks import small_lock

AMD64, ARM64 = "linux/amd64", "linux/arm64"
BOTH = (AMD64, ARM64)
UV = str(Path(sys.executable).with_name("uv"))


def wheel(filename: str, sha256: str = "a" * 64) -> Wheel:
    name, version = filename.split("-")[:2]
    return Wheel(name, version, Artifact(filename, sha256, 1000, "pypi", f"packages/{filename}"), "x")


PURE = wheel("pure-1.0-py3-none-any.whl")
AMD_ONLY = wheel("fast-1.0-cp311-cp311-manylinux_2_17_x86_64.whl", "b" * 64)
ARM_ONLY = wheel("fast-1.0-cp311-cp311-manylinux_2_17_aarch64.whl", "c" * 64)
OLD, NEW = wheel("odd-1.0-py3-none-any.whl"), wheel("odd-2.0-py3-none-any.whl")


def lock_of(amd64: Sequence[Wheel], arm64: Sequence[Wheel] = ()) -> Lock:
    return replace(small_lock(), targets=(Target(AMD64, tuple(amd64)), Target(ARM64, tuple(arm64))))


LOCK = lock_of([PURE, AMD_ONLY, OLD], [PURE, ARM_ONLY, NEW])


def locate(artifact: Artifact) -> str:
    return f"https://me:secret@example.org/files/{artifact.path}#fragment"


def test_requirements() -> None:
    assert (
        """\
# Made by `envbuild export` from envbuild.lock.
# For Python 3.11 on linux/amd64, linux/arm64.
fast==1.0 \\
    --hash=sha256:{b} \\
    --hash=sha256:{c}
odd==1.0 ; platform_machine == "x86_64" \\
    --hash=sha256:{a}
odd==2.0 ; platform_machine == "aarch64" \\
    --hash=sha256:{a}
pure==1.0 \\
    --hash=sha256:{a}
""".format(a="a" * 64, b="b" * 64, c="c" * 64)
        == export(LOCK, "requirements", platforms=BOTH, locate=locate)
    )


@pytest.mark.parametrize(
    ("platform", "wheels"), [(AMD64, (PURE, AMD_ONLY, OLD)), (ARM64, (PURE, ARM_ONLY, NEW))]
)
def test_pylock_gives_each_target_its_wheels(platform: str, wheels: tuple[Wheel, ...]) -> None:
    text = export(LOCK, "pylock", platforms=BOTH, locate=locate)
    lock = Pylock.from_dict(tomli.loads(text))
    environment = marker_environment("3.11.2", platform)
    selected = lock.select(environment=environment, tags=target_tags("3.11.2", platform, "2.36"))  # type: ignore[arg-type]

    assert {one.artifact.filename for one in wheels} == {chosen.filename for _, chosen in selected}
    assert "secret" not in text
    assert "#fragment" not in text
    assert f"https://example.org/files/{PURE.artifact.path}" in text


def test_one_platform_needs_no_markers() -> None:
    assert ";" not in export(LOCK, "requirements", platforms=[AMD64], locate=locate)
    assert "marker" not in export(LOCK, "pylock", platforms=[ARM64], locate=locate)


def test_conda_lock() -> None:
    artifact = Artifact("zlib-1.3-h0_1.conda", "d" * 64, 9, "conda-forge", "linux-64/zlib-1.3-h0_1.conda")
    package = CondaPackage(
        "zlib",
        "1.3",
        "h0_1",
        "linux-64",
        artifact,
        md5="e" * 32,
        depends=("__glibc >=2.17,<3.0.a0", "libgcc", "libzlib <2", "libzlib >=1.3"),
    )
    lock = replace(LOCK, targets=(Target(AMD64, (PURE,), conda=(package,)),))

    assert (
        """\
# Made by `envbuild export` from envbuild.lock.
version: 1
metadata:
  content_hash:
    linux-64: "{two}"
  channels:
  - url: "https://example.org/files"
    used_env_vars: []
  platforms:
  - linux-64
  sources:
  - envbuild.lock
package:
- name: "zlib"
  version: "1.3"
  manager: conda
  platform: linux-64
  dependencies:
    "__glibc": ">=2.17,<3.0.a0"
    "libgcc": ""
    "libzlib": "<2,>=1.3"
  url: "https://example.org/files/linux-64/zlib-1.3-h0_1.conda"
  hash:
    md5: "{e}"
    sha256: "{d}"
  build: "h0_1"
  category: main
  optional: false
- name: "pure"
  version: "1.0"
  manager: pip
  platform: linux-64
  dependencies: {{}}
  url: "https://example.org/files/packages/pure-1.0-py3-none-any.whl"
  hash:
    sha256: "{a}"
  category: main
  optional: false
""".format(two="2" * 64, a="a" * 64, d="d" * 64, e="e" * 32)
        == export(lock, "conda-lock", platforms=[AMD64], locate=locate)
    )

    lock = replace(LOCK, targets=(Target(AMD64, (), conda=(replace(package, md5=""),)),))
    with pytest.raises(RepoError, match="zlib has no MD5"):
        export(lock, "conda-lock", platforms=[AMD64], locate=locate)


def built(kind: Any, archive: Artifact | None) -> Lock:
    """A lock with one package that was built from source."""
    artifact = Artifact("slow-1.0-py3-none-any.whl", "f" * 64, 9, "built")
    record = Built("slow", kind, location="https://example.org/slow", archive=archive)
    target = Target(AMD64, (Wheel("slow", "1.0", artifact, "x"),), built=(record,))
    return replace(LOCK, targets=(target,))


def test_a_package_that_was_built_is_exported_as_its_source() -> None:
    lock = built("sdist", Artifact("slow-1.0.tar.gz", "a" * 64, 5, "pypi", "packages/slow-1.0.tar.gz"))
    (package,) = Pylock.from_dict(
        tomli.loads(export(lock, "pylock", platforms=[AMD64], locate=locate))
    ).packages

    assert package.sdist is not None
    assert ("slow-1.0.tar.gz", {"sha256": "a" * 64}) == (package.sdist.filename, package.sdist.hashes)
    assert f"--hash=sha256:{'a' * 64}" in export(lock, "requirements", platforms=[AMD64], locate=locate)


@pytest.mark.parametrize("form", FORMATS)
def test_a_package_of_no_index_is_named(form: str) -> None:
    with pytest.raises(RepoError, match="slow is built from https://example"):
        export(built("vcs", None), form, platforms=[AMD64], locate=locate)


@pytest.mark.parametrize("form", FORMATS)
def test_an_empty_environment(form: str) -> None:
    assert export(lock_of([]), form, platforms=BOTH, locate=locate)


def test_a_platform_that_is_not_locked() -> None:
    with pytest.raises(UsageError, match="linux/arm64 is not locked"):
        export(small_lock(), "pylock", platforms=BOTH, locate=locate)


@pytest.mark.parametrize("name", ["pylock.toml", "pylock.demo.toml"])
def test_names_that_installers_read(name: str) -> None:
    check_name(name, "pylock")


@pytest.mark.parametrize("name", ["lock.toml", "pylock.a.b.toml", "pylock"])
def test_names_that_they_do_not(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_name(name, "pylock")
    assert "bad-output" == caught.value.code
    check_name(name, "requirements")


# uv reads them, and the index is asked where files are


def indexed(entry: IndexedFile) -> Wheel:
    name, version = entry.filename.split("-")[:2]
    return Wheel(
        name, version, Artifact(entry.filename, entry.sha256, len(entry.data), "pypi", entry.path), "x"
    )


@pytest.mark.parametrize("form", ["pylock", "requirements"])
def test_uv_installs_it(
    index: Index, store: Store, environment: dict[str, str], tmp_path: Path, form: str
) -> None:
    lock = lock_of(
        [indexed(index.add(make_wheel(name, "1.0", requires=["other"]))) for name in ("app", "lib")]
    )
    index.add(make_wheel("app", "2.0"))
    addresses = lock_addresses(lock, store=store, environment=environment, configured={})
    path = tmp_path / f"{form}.{'toml' if form == 'pylock' else 'txt'}"
    path.write_text(export(lock, form, platforms=[AMD64], locate=addresses))
    target = ("--target", tmp_path / "site", "--python-platform", "x86_64-manylinux_2_36")
    versions = ("--python-version", "3.11.2", "--no-deps", "--require-hashes", "--no-config")
    subprocess.run(
        [UV, "pip", "install", "--quiet", "-r", path, *target, *versions, "--cache-dir", tmp_path / "uv"],
        env={**environment, "NO_PROXY": "127.0.0.1"},
        check=True,
    )

    installed = {path.name for path in (tmp_path / "site").glob("*.dist-info")}
    assert {"app-1.0.dist-info", "lib-1.0.dist-info"} == installed


def test_what_is_remembered_of_the_index_is_not_asked_for(
    index: Index, store: Store, environment: dict[str, str]
) -> None:
    lock = lock_of([indexed(index.add(make_wheel("app")))])
    remember(store, environment, [index.base])
    address = lock_addresses(lock, store=store, environment=environment, configured={})

    assert index.base + lock.targets[0].wheels[0].artifact.path == address(lock.targets[0].wheels[0].artifact)
    assert [] == index.requests
