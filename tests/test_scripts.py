"""`scripts/test` fails if, and only if, something that it runs fails."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

_SCRIPT = Path(__file__).parents[1] / "scripts" / "test"
_RUNS = (
    "scripts/install",
    "scripts/install-servers",
    "scripts/kubernetes",
    "scripts/lint",
    ".venv/bin/pytest",
)


def _ended(project: Path, failing: dict[str, int], scripts: Mapping[str, str] = MappingProxyType({})) -> int:
    """Its exit code in a project whose programs only exit, with 0 or with what `failing` or `scripts` say."""
    for name in _RUNS:
        program = project / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n{scripts.get(name, '')}\nexit {failing.get(name, 0)}\n", "utf-8")
        program.chmod(0o755)
    shutil.copy(_SCRIPT, project / "scripts" / "test")
    return subprocess.run([project / "scripts" / "test"], capture_output=True, check=False).returncode


def test_all_passes(tmp_path: Path) -> None:
    assert _ended(tmp_path, {}) == 0


@pytest.mark.parametrize("name", _RUNS)
def test_what_fails_is_not_lost(tmp_path: Path, name: str) -> None:
    assert _ended(tmp_path, {name: 1}) != 0


@pytest.mark.parametrize("tests", ["not network", "docker or slow", "-m kubernetes"])
def test_one_failing_run_of_tests_is_enough(tmp_path: Path, tests: str) -> None:
    script = f'case "$*" in *"{tests}"*) exit 1 ;; esac'
    assert _ended(tmp_path, {}, {".venv/bin/pytest": script}) == 1


def test_a_machine_without_the_packages_of_kubernetes(tmp_path: Path) -> None:
    assert _ended(tmp_path, {"scripts/kubernetes": 3}) == 0
