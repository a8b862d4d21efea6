"""Locks made by the real tools: the pins that envbuild takes over are what the tools themselves export."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from envbuild.lock.adopt import adopt
from envbuild.lock.select import marker_environment
from envbuild.lock.uv_process import Uv
from envbuild.source import Repo
from envbuild.spec import SpecOptions, read_spec
from envbuild.store import Store
from tests.support.lock_tools import LockTools, default_index, pins_of
from tests.support.programs import Envbuild

pytestmark = [pytest.mark.network, pytest.mark.slow]

TARGETS = [
    (platform, python, glibc)
    for platform in ("linux/amd64", "linux/arm64")
    for python, glibc in (("3.11.2", "2.36"), ("3.13.5", "2.40"))
]
STANDARD = """\
[project]
name = "demo"
version = "0.1.0"
requires-python = ">=3.11,<3.14"
dependencies = [
    "requests[socks]>=2.31",
    "ipython>=8",
    "markupsafe",
    "tomli; python_version < '3.11'",
    "colorama; sys_platform == 'win32'",
]
[project.optional-dependencies]
pretty = ["rich>=13"]
[dependency-groups]
dev = ["pytest>=8"]
"""
POETRY = """\
[tool.poetry]
name = "demo"
version = "0.1.0"
description = ""
authors = []
package-mode = false

[tool.poetry.dependencies]
python = ">=3.11,<3.14"
idna = "^3"
requests = { version = "^2.31", extras = ["socks"] }
ipython = "*"
numpy = [{ version = "<2", python = "<3.12" }, { version = ">=2", python = ">=3.12" }]
colorama = { version = "*", markers = "sys_platform == 'win32'" }
rich = { version = "*", optional = true }

[tool.poetry.extras]
pretty = ["rich"]

[tool.poetry.group.dev.dependencies]
pytest = "*"
"""


@pytest.fixture(scope="module")
def uv(scratch: Path) -> Uv:
    store = Store(scratch / "adopting")
    store.prepare()
    return Uv(store, os.environ)


def with_source(pyproject: str) -> str:
    """``pyproject`` with the usual index as one of HTML: not every mirror has the JSON that Poetry wants."""
    source = f'name = "mirror"\nurl = "{default_index()}"\npriority = "primary"\n'
    return f"{pyproject}\n[[tool.poetry.source]]\n{source}"


def check(
    repository: Path,
    exported: str,
    uv: Uv,
    *,
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
) -> None:
    """On every target the pins are those of ``exported``, and every file is one of the lock."""
    spec = read_spec(Repo(repository), SpecOptions(extras=tuple(extras), groups=tuple(groups)))
    assert [] == [problem for problem in spec.problems if problem.level != "note"]
    assert spec.adopted is not None
    lock = (repository / spec.adopted.path).read_text("utf-8")
    for platform, python, glibc in TARGETS:
        taken = adopt(spec, repo=Repo(repository), uv=uv, python=python, glibc=glibc, platform=platform)
        expected = pins_of(exported, marker_environment(python, platform))
        assert len(expected) > 5
        assert expected == {pin.name: pin.version for pin in taken.pins}, (platform, python)
        assert [] == [pin for pin in taken.pins if f"sha256:{pin.sha256}" not in lock]


@pytest.mark.parametrize("tool", ["poetry", "poetry-1"])
def test_poetry(tools: LockTools, uv: Uv, tmp_path: Path, tool: str) -> None:
    """Versions 2.1 (with groups and markers) and 2.0 (to be walked) of the format."""
    (tmp_path / "pyproject.toml").write_text(with_source(POETRY))
    tools.run(tool, "poetry", "lock", cwd=tmp_path)
    plain = ("export", "--without-urls", "--without-hashes")
    check(tmp_path, tools.run(tool, "poetry", *plain, cwd=tmp_path), uv)
    more = tools.run(tool, "poetry", *plain, "--with", "dev", "--extras", "pretty", cwd=tmp_path)
    check(tmp_path, more, uv, extras=["pretty"], groups=["dev"])


def test_poetry_on_a_standard_project(tools: LockTools, uv: Uv, tmp_path: Path) -> None:
    pyproject = STANDARD + "[tool.poetry]\npackage-mode = false\n"
    (tmp_path / "pyproject.toml").write_text(with_source(pyproject))
    tools.run("poetry", "poetry", "lock", cwd=tmp_path)
    plain = ("export", "--without-urls", "--without-hashes")
    exported = tools.run("poetry", "poetry", *plain, "--extras", "pretty", cwd=tmp_path)
    check(tmp_path, exported, uv, extras=["pretty"])


@pytest.mark.parametrize(
    "options",
    [[], ["--strategy", "no_inherit_metadata"], ["--static-urls"]],
    ids=["inherit", "walk", "static-urls"],
)
def test_pdm(tools: LockTools, uv: Uv, tmp_path: Path, options: list[str]) -> None:
    """With groups and markers, and to be walked; with names of files, and with their addresses.

    PDM exports only the first kind, so that is what the others are compared with.
    """
    (tmp_path / "pyproject.toml").write_text(STANDARD + "[tool.pdm]\ndistribution = false\n")
    tools.run("pdm", "pdm", "lock", "--group", ":all", cwd=tmp_path)
    plain = ("export", "--no-hashes")
    exported = tools.run("pdm", "pdm", *plain, "--prod", "--group", "default", cwd=tmp_path)
    everything = tools.run("pdm", "pdm", *plain, "--group", "default,pretty,dev", cwd=tmp_path)
    if options:
        tools.run("pdm", "pdm", "lock", "--group", ":all", *options, cwd=tmp_path)
    check(tmp_path, exported, uv)
    check(tmp_path, everything, uv, extras=["pretty"], groups=["dev"])


def test_pipenv(tools: LockTools, uv: Uv, tmp_path: Path) -> None:
    (tmp_path / "Pipfile").write_text(
        f'[[source]]\nurl = "{default_index()}"\nverify_ssl = true\nname = "pypi"\n'
        '[packages]\nrequests = { version = ">=2.31", extras = ["socks"] }\nidna = "*"\nmarkupsafe = "*"\n'
        '[dev-packages]\npytest = "*"\n'
    )
    tools.run("pipenv", "pipenv", "lock", cwd=tmp_path)
    check(tmp_path, tools.run("pipenv", "pipenv", "requirements", cwd=tmp_path), uv)
    check(tmp_path, tools.run("pipenv", "pipenv", "requirements", "--dev", cwd=tmp_path), uv, groups=["dev"])


def test_an_image_of_a_poetry_lock(tools: LockTools, envbuild: Envbuild, tmp_path: Path) -> None:
    """It has what Poetry locked, also what has to be built from source; and a notebook runs in it."""
    tables = '[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\npython = "^3.11"\n'
    (tmp_path / "pyproject.toml").write_text(with_source(tables + 'idna = "<3.10"\ndocopt = "*"\n'))
    tools.run("poetry", "poetry", "lock", cwd=tmp_path)
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "id": "a",
        "metadata": {},
        "outputs": [],
        "source": "import docopt, idna\nprint(idna.__version__, docopt.__version__)",
    }
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "check.ipynb").write_text(json.dumps(notebook))
    exported = tools.run("poetry", "poetry", "export", "--without-hashes", "--without-urls", cwd=tmp_path)
    pins = pins_of(exported, marker_environment("3.13.5", "linux/amd64"))
    done = envbuild.run("run", tmp_path, "check.ipynb", "-o", tmp_path / "out")
    assert 0 == done.returncode, done.stderr
    (executed,) = json.loads((tmp_path / "out" / "check.ipynb").read_text())["cells"]
    assert f"{pins['idna']} {pins['docopt']}\n" == "".join(executed["outputs"][0]["text"])
    source = next(line for line in (tmp_path / "poetry.lock").read_text().splitlines() if "docopt-" in line)
    assert source.rpartition("sha256:")[2].rstrip('"},') in (tmp_path / "envbuild.lock").read_text()
