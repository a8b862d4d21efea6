"""The kernel's own bound on processes, tried with a shell that starts more than it may."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from envbuild.sandbox.ceiling import _threads_of_the_user, bounded
from envbuild.sandbox.model import Limits

# Children that sleep, as many as can be had up to a hundred, counted.
_MANY = "n=0; while [ $n -lt 100 ] && sleep 1 & do n=$((n + 1)); done; echo end"


@pytest.mark.slow
def test_root_is_bounded_by_a_control_group() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with bounded(("/bin/sh",), Limits(processes=10)) as start:
        if start == ("/bin/sh",):
            pytest.skip("no control group can be made here")
        done = subprocess.run([*start, "-c", _MANY], capture_output=True, text=True, timeout=600, check=False)
    assert "ork" in done.stderr  # "Cannot fork", "fork: retry", as the shell says it
    assert "end" not in done.stdout


def test_without_a_way_the_tool_is_started_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envbuild.sandbox.ceiling._HIERARCHIES", ())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with bounded(("/usr/bin/bwrap", "--x"), Limits()) as start:
        assert ("/usr/bin/bwrap", "--x") == start


def test_others_get_a_resource_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is above what they run already, all of which counts."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr("envbuild.sandbox.ceiling._threads_of_the_user", lambda: 500)
    with bounded(("/bin/sh",), Limits(processes=150)) as start:
        done = subprocess.run(
            [*start, "-c", "cat /proc/self/limits"], capture_output=True, text=True, check=True
        )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("Max processes")]
    assert "1800" == line.split()[2]


def test_threads_are_counted(tmp_path: Path) -> None:
    for thread in ("7/task/7", "7/task/8", "9/task/9", "sys/task/1"):
        (tmp_path / thread).mkdir(parents=True)
    (tmp_path / "11").mkdir()  # has ended
    assert 3 == _threads_of_the_user(tmp_path)
    assert 0 < _threads_of_the_user()
