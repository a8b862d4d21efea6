"""Kernelspecs on this machine."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from envbuild.errors import UsageError
from envbuild.launch.kernelspecs import (
    Installation,
    install_kernels,
    installed_kernels,
    remove_kernel,
    user_directory,
)
from tests.launch.conftest import PYTHON

R = replace(PYTHON, names=("ir", "ir44"), display_name="R", language="R", interrupt_mode="message")
OURS = Installation("project", ("/home/me/project", "--extra", "dev"), "abc", Path("/cache"))


def test_each_kernel_of_the_image_has_one_under_a_name_that_is_nobody_elses(tmp_path: Path) -> None:
    installed = install_kernels((PYTHON, R), OURS, tmp_path)

    assert [("project", "Python (project)"), ("project-ir", "R (project)")] == [
        (kernel.name, kernel.display_name) for kernel in installed
    ]
    assert installed == installed_kernels([tmp_path])


def test_kernel_json_starts_the_program_by_itself(tmp_path: Path) -> None:
    """Nothing of it depends on where it is started, or on what the application knows beyond the standard."""
    install_kernels((R,), OURS, tmp_path)

    written = json.loads((tmp_path / "project-ir" / "kernel.json").read_text())
    program = str(Path(sys.executable).with_name("envbuild-kernel"))
    assert [program, "{connection_file}", "project-ir", "abc", "/cache", *OURS.source] == written["argv"]
    assert ("message", "R") == (written["interrupt_mode"], written["language"])
    assert {"PYTHONPATH": "", "PYTHONSAFEPATH": "1"} == written["env"]
    assert "kernel_provisioner" not in written["metadata"]


def test_the_provisioner_is_named_where_it_is_known_to_be(tmp_path: Path) -> None:
    install_kernels((PYTHON,), replace(OURS, provisioner=True), tmp_path)

    metadata = json.loads((tmp_path / "project" / "kernel.json").read_text())["metadata"]
    assert {"provisioner_name": "envbuild"} == metadata["kernel_provisioner"]
    assert metadata["debugger"] is True


def test_installing_again_replaces_and_removes_what_is_gone(tmp_path: Path) -> None:
    install_kernels((PYTHON, R), OURS, tmp_path)

    install_kernels((PYTHON,), replace(OURS, key="def"), tmp_path)

    assert [("project", "def")] == [(kernel.name, kernel.key) for kernel in installed_kernels([tmp_path])]


def test_kernels_of_others_are_not_touched(tmp_path: Path) -> None:
    own = tmp_path / "project" / "kernel.json"
    own.parent.mkdir()
    own.write_text("{}")

    with pytest.raises(UsageError) as error:
        install_kernels((PYTHON, R), OURS, tmp_path)

    assert ("kernel-exists", "{}", [own.parent]) == (
        error.value.code,
        own.read_text(),
        list(tmp_path.iterdir()),
    )


def test_a_repository_does_not_take_the_name_of_another(tmp_path: Path) -> None:
    install_kernels((PYTHON,), OURS, tmp_path)

    with pytest.raises(UsageError) as error:
        install_kernels((PYTHON,), replace(OURS, source=("/elsewhere/project",)), tmp_path)

    assert "/home/me/project" in error.value.message
    assert [OURS.source] == [kernel.source for kernel in installed_kernels([tmp_path])]


def test_removed_ones_are_gone(tmp_path: Path) -> None:
    for kernel in install_kernels((PYTHON, R), OURS, tmp_path):
        remove_kernel(kernel)

    assert ([], ()) == (list(tmp_path.iterdir()), installed_kernels([tmp_path, tmp_path / "missing"]))


def test_where_applications_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(sys, "platform", "linux")

    assert Path("/home/me/.local/share/jupyter/kernels") == user_directory({})
    assert Path("/data/jupyter/kernels") == user_directory({"XDG_DATA_HOME": "/data"})
    assert Path("/j/kernels") == user_directory({"XDG_DATA_HOME": "/data", "JUPYTER_DATA_DIR": "/j"})
