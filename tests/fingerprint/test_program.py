"""The program that runs in images, run by this Python on a fake environment."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from envbuild.fingerprint import program

SOURCE = Path(program.__file__)


def install(site: Path, name: str, version: str, files: Mapping[str, bytes]) -> Path:
    """A distribution as installers leave it; returns its RECORD."""
    rows = []
    for path, content in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
        value = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        rows.append(f"{path},sha256={value},{len(content)}")
    metadata = site / f"{name}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: no\n"
    )
    record = metadata / "RECORD"
    record.write_text("\n".join([*rows, f"{metadata.name}/RECORD,,", f"{name}/__pycache__/x.pyc,,", ""]))
    return record


@pytest.fixture
def site(tmp_path: Path) -> Path:
    made = tmp_path / "site"
    made.mkdir()
    return made


def printed(
    site: Path,
    *arguments: str,
    cwd: Path | None = None,
    umask: int = -1,
    user: int | None = None,
    **variables: str,
) -> dict[str, Any]:
    """What a process of its own prints, without this Python's own packages."""
    done = subprocess.run(
        [sys.executable, "-S", SOURCE, *arguments],
        env={"PYTHONPATH": str(site), "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin", **variables},
        cwd=cwd,
        umask=umask,
        user=user,
        capture_output=True,
        text=True,
        check=True,
    )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_the_program_is_for_older_pythons_too() -> None:
    """Conda environments choose their own; nothing of envbuild, and nothing else, can be imported."""
    tree = ast.parse(SOURCE.read_text("utf-8"), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert set() == imported - sys.stdlib_module_names


def test_packages_have_versions_and_the_digest_of_their_record(site: Path) -> None:
    record = install(site, "Zope.Thing", "1.2", {"thing.py": b"x = 1\n"})
    (site / "old.egg-info").write_text("Name: old\nVersion: 0.1\n")

    assert {
        "zope-thing": {
            "version": "1.2",
            "record": "sha256:" + hashlib.sha256(record.read_bytes()).hexdigest(),
            "location": str(site),
        },
        "old": {"version": "0.1", "record": None, "location": str(site)},
    } == program.packages([str(site)], "/home/me")


def test_of_two_versions_the_one_that_is_imported_counts(tmp_path: Path) -> None:
    for place, version in (("first", "2"), ("second", "1")):
        (tmp_path / place).mkdir()
        install(tmp_path / place, "demo", version, {})

    found = program.packages([str(tmp_path / "first"), str(tmp_path / "second")], "")

    assert [("demo", "2")] == [(name, package["version"]) for name, package in found.items()]


def test_files_are_compared_with_the_record(site: Path) -> None:
    """What nobody touched changes nothing in the document; what somebody did is named."""
    install(site, "demo", "1", {"demo/a.py": b"a", "demo/b.py": b"b", "demo/c.py": b"c"})
    intact, unasked = (program.packages([str(site)], "", files=asked) for asked in (True, False))
    (site / "demo/a.py").write_bytes(b"changed")
    (site / "demo/b.py").unlink()

    found = program.packages([str(site)], "", files=True)

    assert unasked == intact
    assert {"demo/a.py": "changed", "demo/b.py": "missing"} == found["demo"]["altered"]
    assert ["demo: demo/a.py: changed", "demo: demo/b.py: missing"] == program.altered_files(
        {"packages": found}
    )


def test_user_machine_and_place_do_not_change_the_digest(site: Path, tmp_path: Path) -> None:
    install(site, "demo", "1", {"demo.py": b""})
    kernels = tmp_path / "second/.local/share/jupyter/kernels/mine"
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text('{"argv": ["mine"]}')
    first = printed(site, HOME=str(tmp_path / "first"), USER="one")
    second = printed(
        site,
        HOME=str(tmp_path / "second"),
        USER="two",
        cwd=site,
        umask=0o077,
        MPLBACKEND="module://matplotlib_inline.backend_inline",
        JUPYTERHUB_API_TOKEN="secret-token",
        SOMETHING="else",
    )

    assert first["digest"] == second["digest"]
    assert first["environment"] == second["environment"]
    assert (["mine"], "077", str(site)) == (
        second["machine"]["kernels"]["mine"]["argv"],
        second["machine"]["umask"],
        second["machine"]["directory"],
    )


def test_order_of_directories_on_disk_does_not_matter(
    site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in "cab":
        install(site, name, "1", {f"{name}.pth": b"#"})
    before = program.canonical([program.packages([str(site)], ""), program._startup([str(site)], "")])
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: sorted(listdir(path), reverse=True))

    after = program.canonical([program.packages([str(site)], ""), program._startup([str(site)], "")])

    assert before == after


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_another_user_has_the_same_digest(tmp_path: Path) -> None:
    """As long as they can read what is installed."""
    program_of_system = "/usr/bin/python3"
    if not Path(program_of_system).exists():
        pytest.skip("no Python that other users can start")
    digests = set()
    for user in (0, 65534):
        done = subprocess.run(
            [program_of_system, "-I", "-c", SOURCE.read_text("utf-8").replace("__file__", "''")],
            env={"LANG": "C.UTF-8", "HOME": f"/nonexistent/{user}", "PATH": "/usr/bin"},
            cwd="/",
            user=user,
            capture_output=True,
            check=True,
        )
        digests.add(json.loads(done.stdout)["digest"])
    assert 1 == len(digests)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OMP_NUM_THREADS", "1"),
        ("TZ", "Asia/Tokyo"),
        ("LC_ALL", "C"),
        ("PYTHONOPTIMIZE", "1"),
        ("LD_PRELOAD", ""),
    ],
)
def test_variables_that_decide_results_change_the_digest(
    name: str, value: str, site: Path, tmp_path: Path
) -> None:
    plain = printed(site, HOME=str(tmp_path))

    found = printed(site, HOME=str(tmp_path), **{name: value})

    assert value == found["environment"]["variables"][name]
    assert plain["digest"] != found["digest"]


@pytest.mark.parametrize(
    "path",
    [
        ".ipython/profile_default/startup/00-mine.py",
        ".config/matplotlib/matplotlibrc",
        ".local/share/fonts/mine.ttf",
    ],
)
def test_settings_in_the_home_directory_change_the_digest(path: str, site: Path, tmp_path: Path) -> None:
    """A hub's volume may have brought them."""
    home = tmp_path / "home"
    home.mkdir()
    plain = printed(site, HOME=str(home))
    (home / path).parent.mkdir(parents=True)
    (home / path).write_text("x")

    found = printed(site, HOME=str(home))

    assert [f"~/{path}"] == list(found["environment"]["settings"])
    assert [f"settings ~/{path}"] == [
        what for what, _, _ in program.differences(plain["environment"], found["environment"])
    ]


def test_a_terminal_has_the_variables_of_a_kernel(site: Path, tmp_path: Path) -> None:
    """The kernelspec decides about IPython's directory; startup files in the home directory do not count."""
    kernel = tmp_path / "jupyter/kernels/python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text('{"argv": [], "env": {"IPYTHONDIR": "/tmp/ipython", "OTHER": "1"}}')
    startup = tmp_path / "home/.ipython/profile_default/startup/mine.py"
    startup.parent.mkdir(parents=True)
    startup.touch()
    options = {"HOME": str(tmp_path / "home"), "JUPYTER_PATH": str(tmp_path / "jupyter")}

    terminal = printed(site, **options)
    cell = printed(site, IPYTHONDIR="/tmp/ipython", OTHER="1", **options)

    assert terminal["environment"] == cell["environment"]
    assert "/tmp/ipython" == terminal["environment"]["variables"]["IPYTHONDIR"]
    assert {} == terminal["environment"]["settings"]


def test_no_value_of_another_variable_is_shown(site: Path, tmp_path: Path) -> None:
    secrets = {
        name: f"secret-of-{name}" for name in ("JUPYTERHUB_API_TOKEN", "JUPYTER_TOKEN", "AWS_SECRET", "LC_X")
    }

    assert "secret-of" not in json.dumps(printed(site, HOME=str(tmp_path), **secrets))


def test_a_saved_document_is_compared_with(site: Path, tmp_path: Path) -> None:
    """Exit code 1 and the difference by name; 0 and the digest when there is none; 2 when it is none."""
    install(site, "demo", "1", {})
    saved = tmp_path / "saved.json"
    environment = {"PYTHONPATH": str(site), "HOME": str(tmp_path)}

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-S", SOURCE, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert 0 == run("--output", saved).returncode
    same = run("--against", saved)
    install(site, "added", "3", {})
    (site / "demo-1.dist-info/METADATA").write_text("Name: demo\nVersion: 2\n")
    other = run("--against", saved)
    none = run("--against", site)

    digest = json.loads(saved.read_text())["digest"]
    assert (0, f"the same: {digest}\n") == (same.returncode, same.stdout)
    assert (1, "  + packages added  3\n  ~ packages demo version  1 -> 2\n") == (
        other.returncode,
        other.stdout,
    )
    assert (2, True) == (none.returncode, "is not a fingerprint" in none.stderr)


def test_files_of_conda_are_compared_with_what_conda_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It changes prefixes in files, of which RECORD knows nothing."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    record = install(tmp_path, "demo", "1", {"demo.py": b"prefix = PLACEHOLDER"})
    (tmp_path / "demo.py").write_bytes(b"prefix = /srv/env")
    (tmp_path / "link").symlink_to("demo.py")
    paths = [
        {
            "_path": "demo.py",
            "sha256": "0" * 64,
            "sha256_in_prefix": hashlib.sha256(b"prefix = /srv/env").hexdigest(),
        },
        {"_path": "link", "path_type": "softlink", "sha256": "0" * 64},
        {"_path": "gone", "sha256": "0" * 64},
    ]
    (tmp_path / "conda-meta").mkdir()
    meta = {"name": "demo", "version": "1", "build": "0", "paths_data": {"paths": paths}}
    meta["files"] = ["demo.py", str(record.relative_to(tmp_path))]
    (tmp_path / "conda-meta/demo-1-0.json").write_text(json.dumps(meta))
    (told,) = program._conda_records(tmp_path / "conda-meta")

    assert {"gone": "missing"} == program._conda_package(told, files=True)["altered"]
    assert {"version": "1", "build": "0", "sha256": None} == program._conda_package(told, files=False)
    found = program.packages([str(tmp_path)], "", files=True, of_conda={str(record)})
    assert "altered" not in found["demo"]


def test_debian_packages_that_are_installed(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text(
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n"
    )

    assert {"libc6:amd64": "2.36-9"} == program._debian(status)


def test_of_many_differences_the_first_are_shown() -> None:
    found = [(f"packages p{number:02d}", None, {"version": "1"}) for number in range(30)]

    lines = program.difference_lines(found)

    assert ("  + packages p00  1", "  and 10 more", 21) == (lines[0], lines[-1], len(lines))


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    process = subprocess.Popen([sys.executable, "-S", SOURCE], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, messages = process.communicate()

    assert (0, b"") == (process.returncode, messages)
