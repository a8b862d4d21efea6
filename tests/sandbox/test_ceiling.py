"""The kernel's own bound on processes, tried with a shell that starts more than it may."""

from __future__ import annotations

import os
import subprocess

import pytest

from envbuild.sandbox.ceiling import bounded
from envbuild.sandbox.model import Limits

# Children that sleep, as many as can be had up to a hundred, counted.
_MANY = "n=0; while [ $n -lt 100 ] && sleep 1 & do n=$((n + 1)); done; echo end"


def test_root_is_bounded_by_a_control_group() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with bounded(("/bin/sh",), Limits(processes=10)) as start:
        if start == ("/bin/sh",):
            pytest.skip("no control group can be made here")
        done = subprocess.run([*start, "-c", _MANY], capture_output=True, text=True, timeout=60, check=False)
    assert "ork" in done.stderr  # "Cannot fork", "fork: retry", as the shell says it
    assert "end" not in done.stdout


def test_without_a_way_the_tool_is_started_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envbuild.sandbox.ceiling._HIERARCHIES", ())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with bounded(("/usr/bin/bwrap", "--x"), Limits()) as start:
        assert ("/usr/bin/bwrap", "--x") == start


def test_others_get_a_resource_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with bounded(("/bin/sh",), Limits(processes=150)) as start:
        done = subprocess.run(
            [*start, "-c", "cat /proc/self/limits"], capture_output=True, text=True, check=True
        )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("Max processes")]
    assert "300" == line.split()[2]
