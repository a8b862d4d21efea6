"""``conda-lock.yml`` and ``pixi.lock``: read exactly, or refused with a line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.errors import RepoError, UsageError
from envbuild.source import Repo
from envbuild.spec import Spec
from envbuild.spec.conda_lock_yml import read_conda_lock
from envbuild.spec.conda_locked import LockedConda, LockedCondaPackage, LockedWheel
from envbuild.spec.model import Adopted, CondaRequest
from envbuild.spec.pixi_lock import read_pixi_lock
from tests.spec.documents import CONDA_LOCK, PIXI_LOCK

SpecOf = Callable[..., Spec]


def _read(folder: Path, text: str, *options: object) -> LockedConda:
    name = "conda-lock.yml" if "manager:" in text or "package:" in text else "pixi.lock"
    (folder / name).write_text(text)
    read = read_conda_lock if name == "conda-lock.yml" else read_pixi_lock
    return read(Repo(folder.resolve()), name, *options)  # type: ignore[operator, no-any-return]


def test_conda_lock(tmp_path: Path) -> None:
    lock = _read(tmp_path, CONDA_LOCK)
    python = LockedCondaPackage(
        name="python",
        version="3.12.10",
        build="h1_0_cpython",
        channel="conda-forge",
        subdir="linux-64",
        filename="python-3.12.10-h1_0_cpython.conda",
        sha256="1".rjust(64, "0"),
        md5="1".rjust(32, "0"),
        size=None,
        noarch="",
        depends=("__glibc >=2.17", "libzlib"),
        line=13,
    )

    assert {"linux/amd64": (python,)} == lock.conda
    assert {
        "linux/amd64": (
            LockedWheel("six", "1.17.0", "six-1.17.0-py2.py3-none-any.whl", "2".rjust(64, "0"), 24),
        )
    } == lock.wheels


def test_categories_are_chosen(tmp_path: Path) -> None:
    lock = _read(tmp_path, CONDA_LOCK, ("dev",))

    assert ["python", "ruff"] == [package.name for package in lock.conda["linux/amd64"]]
    assert ("conda-forge", "https://repo.example.org/lab") == lock.channels


@pytest.mark.parametrize("version", ["4", "5", "6", "7"])
def test_pixi_lock(tmp_path: Path, version: str) -> None:
    text = PIXI_LOCK.replace("version: 6", f"version: {version}")
    if version in "45":  # packages say their kind, and where they are is beside it
        text = re.sub(r"^- (conda|pypi): ", r"- kind: \1\n  url: ", text, flags=re.MULTILINE)
    lock = _read(tmp_path, text)
    (python,) = lock.conda["linux/amd64"]

    assert ("python", "3.12.10", 30_000_000) == (python.name, python.version, python.size)
    assert "lib/python3.12/site-packages" == python.site_packages
    assert [("six", "1.17.0")] == [(wheel.name, wheel.version) for wheel in lock.wheels["linux/amd64"]]
    assert [(".", True)] == [(source.location, source.editable) for source in lock.sources]


def test_another_environment_of_pixi(tmp_path: Path) -> None:
    (pytest_package,) = _read(tmp_path, PIXI_LOCK, "test").conda["linux/amd64"]

    assert ("pytest", "noarch", "python") == (
        pytest_package.name,
        pytest_package.subdir,
        pytest_package.noarch,
    )
    with pytest.raises(UsageError, match="no environment"):
        _read(tmp_path, PIXI_LOCK, "nothing")


def test_in_a_repository(spec_of: SpecOf) -> None:
    spec = spec_of({"conda-lock.yml": CONDA_LOCK, "environment.yml": "dependencies: [x]"})

    assert Adopted("conda-lock.yml", "conda-lock.yml") == spec.adopted
    assert CondaRequest("conda-lock.yml", ("conda-forge",), ()) == spec.conda
    assert ["==3.12.10"] == [request.specifier for request in spec.python]
    assert [False] == [file.used for file in spec.files if file.path == "environment.yml"]


def test_an_environment_of_pixi_is_chosen_by_group(spec_of: SpecOf) -> None:
    chosen = spec_of({"pixi.lock": PIXI_LOCK}, groups=("test",))
    assert Adopted("pixi.lock", "pixi.lock", groups=("test",)) == chosen.adopted


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 1\n", "version: 2\n"),
        ("version: 1\n", ""),
        ("package:", "packages:"),
        ("  url: https://conda", "  urls: https://conda"),
        ("linux-64/python-3.12.10-h1_0_cpython", "linux-64/python-3.12.11-h1_0_cpython"),
        ("linux-64/python-3.12.10", "linux-aarch64/python-3.12.10"),
        ("https://conda.anaconda.org/conda-forge/linux-64/python", "file:///etc/linux-64/python"),
        ("conda-forge/linux-64/python", "conda-forge/../linux-64/python"),
        ("0000000000000001\n  category", "000000000000000g\n  category"),
        (
            "manager: conda\n  platform: linux-64\n  dependencies",
            "manager: npm\n  platform: linux-64\n  dependencies",
        ),
        ("six-1.17.0-py2.py3-none-any.whl", "six-1.17.0.tar.gz"),
        ("six-1.17.0-py2.py3-none-any.whl", "seven-1.17.0-py2.py3-none-any.whl"),
        ("name: six", "name: [six]"),
        ("  hash:\n    sha256: ", "  hash:\n    sha512: "),
    ],
)
def test_bad_conda_locks(tmp_path: Path, old: str, new: str) -> None:
    assert old in CONDA_LOCK
    (tmp_path / "conda-lock.yml").write_text(CONDA_LOCK.replace(old, new, 1))
    with pytest.raises(RepoError) as caught:
        read_conda_lock(Repo(tmp_path.resolve()), "conda-lock.yml")

    assert "conda-lock.yml" == caught.value.file
    assert caught.value.line is not None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 6", "version: 99"),
        ("  default:", "  other:"),
        ("      - pypi: ./\n", "      - pypi: ../../etc\n"),
        ("      - conda: https://conda.anaconda.org", "      - conda: https://elsewhere.example"),
        ("      - conda:", "      - brew:"),
        ("lib/python3.12/site-packages", "../../etc"),
        ("size: 30000000", "size: -1"),
        ("size: 30000000", "size: [1]"),
    ],
)
def test_bad_pixi_locks(tmp_path: Path, old: str, new: str) -> None:
    assert old in PIXI_LOCK
    (tmp_path / "pixi.lock").write_text(PIXI_LOCK.replace(old, new, 1))
    with pytest.raises(RepoError) as caught:
        read_pixi_lock(Repo(tmp_path.resolve()), "pixi.lock")

    assert ("pixi.lock", True) == (caught.value.file, caught.value.line is not None)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_damaged_locks_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text = data.draw(st.sampled_from([CONDA_LOCK, PIXI_LOCK]))
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 30))
    damaged = text[:start] + data.draw(st.text("ab1:- \n[]{}/.%\0", max_size=8)) + text[start + length :]
    folder = tmp_path_factory.mktemp("lock")
    try:
        _read(folder, damaged)
    except RepoError as error:
        assert error.file in ("conda-lock.yml", "pixi.lock")
