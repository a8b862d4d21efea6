"""What ``envbuild export`` writes is read by the tools it is for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomli

from tests.support.lock_tools import LockTools
from tests.support.programs import Envbuild

pytestmark = [pytest.mark.network, pytest.mark.slow]

BOTH = ("--platform", "linux/amd64", "--platform", "linux/arm64")
_UV = str(Path(sys.executable).with_name("uv"))
_READ_CONDA_LOCK = """
import pathlib
from conda_lock.lockfile import parse_conda_lock_file
for one in parse_conda_lock_file(pathlib.Path("conda-lock.yml")).package:
    if one.platform == "linux-64":
        print(f"{one.name}=={one.version}")
"""


@pytest.fixture(scope="module")
def repository(quickstart: Path, scratch: Path) -> Path:
    """What the quickstart asks for, on a Python like this one: uv takes no pylock for another."""
    if sys.version_info[:2] not in ((3, 11), (3, 13)):
        pytest.skip("no base has this Python")
    repository = scratch / "export"
    repository.mkdir()
    shutil.copy(quickstart / "requirements.txt", repository)
    (repository / "runtime.txt").write_text(f"python-3.{sys.version_info.minor}\n")
    return repository


@pytest.fixture(scope="module")
def locked(envbuild: Envbuild, repository: Path) -> set[str]:
    """``name==version`` of all that is locked for amd64."""
    document = envbuild.document("lock", repository, *BOTH)
    return {f"{name}=={version}" for name, version in document["platforms"]["linux/amd64"].items()}


def export(envbuild: Envbuild, repository: Path, form: str, output: Path) -> None:
    envbuild.document("export", repository, "--locked", "--format", form, "-o", output)


@pytest.mark.parametrize(("form", "name"), [("pylock", "pylock.toml"), ("requirements", "requirements.txt")])
def test_uv_would_install_exactly_this(
    envbuild: Envbuild, repository: Path, locked: set[str], tmp_path: Path, form: str, name: str
) -> None:
    export(envbuild, repository, form, tmp_path / name)
    done = subprocess.run(
        [
            *(_UV, "pip", "install", "--dry-run", "--no-deps", "--no-config", "--no-python-downloads"),
            *("-r", name, "--target", "site", "--python", sys.executable),
            *("--python-platform", "x86_64-manylinux_2_40"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert locked == {line[3:].split(" ")[0] for line in done.stderr.splitlines() if line.startswith(" + ")}


def test_pip_would_install_exactly_this(
    envbuild: Envbuild, repository: Path, locked: set[str], tmp_path: Path, tools: LockTools
) -> None:
    """With hashes demanded, for the target's Python and platform."""
    export(envbuild, repository, "requirements", tmp_path / "requirements.txt")
    platforms = ["manylinux2014_x86_64", *(f"manylinux_2_{minor}_x86_64" for minor in range(17, 41))]
    printed = tools.run(
        "pip-tools",
        "python",
        *("-m", "pip", "install", "--dry-run", "--require-hashes", "--no-deps", "--ignore-installed"),
        *("-r", "requirements.txt", "--target", "site", "--only-binary", ":all:"),
        *("--python-version", f"3.{sys.version_info.minor}"),
        *(word for platform in platforms for word in ("--platform", platform)),
        cwd=tmp_path,
    )
    (last,) = [line for line in printed.splitlines() if line.startswith("Would install ")]
    installed = {word.rpartition("-") for word in last.removeprefix("Would install ").split()}
    names = {
        f"{name.lower().replace('_', '-').replace('.', '-')}=={version}" for name, _, version in installed
    }
    assert locked == names


def test_conda_lock_reads_it(
    envbuild: Envbuild, repository: Path, locked: set[str], tmp_path: Path, tools: LockTools
) -> None:
    export(envbuild, repository, "conda-lock", tmp_path / "conda-lock.yml")
    assert locked == set(tools.run("conda-lock", "python", "-c", _READ_CONDA_LOCK, cwd=tmp_path).split())


def test_a_pylock_is_adopted_again(
    envbuild: Envbuild, repository: Path, locked: set[str], tmp_path: Path
) -> None:
    """Nothing is lost on the way out and in; and nobody's credentials are in the addresses."""
    export(envbuild, repository, "pylock", tmp_path / "pylock.toml")
    packages = tomli.loads((tmp_path / "pylock.toml").read_text())["packages"]
    assert not any("@" in wheel["url"] for package in packages for wheel in package["wheels"])
    python = f"3.{sys.version_info.minor}"
    document = envbuild.document("lock", tmp_path, "--platform", "linux/amd64", "--python", python)
    again = document["platforms"]["linux/amd64"]
    assert locked == {f"{name}=={version}" for name, version in again.items()}
