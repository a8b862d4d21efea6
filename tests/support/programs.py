"""Programs under test and beside it: the installed ``envbuild``, and what tests may or may not rely on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import missing

__all__ = ["Envbuild", "install", "other_python", "output_of", "require", "skip_for", "version_of"]

_PROJECT = Path(__file__).parents[2]
_PROGRAM = Path(sys.executable).with_name("envbuild")


def require(*programs: str, root: bool = False) -> None:
    """Skip the test when it lacks a program or root."""
    skip_for(missing(*programs, root=root))


def skip_for(reason: str | None) -> None:
    """Skip the test for ``reason``, if there is one.

    With ``CI=true``, where ``scripts/test`` installs the programs, a missing one is a failure.
    """
    if reason is not None:
        if os.environ.get("CI") == "true" and reason != "needs root":
            pytest.fail(reason)
        pytest.skip(reason)


def output_of(*command: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints; a failing one fails the test with its messages."""
    done = subprocess.run(
        list(map(str, command)),
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def version_of(interpreter: str) -> str | None:
    """``3.11``; None when there is only a wrapper that does not start."""
    command = [interpreter, "-c", "import sys; print(*sys.version_info[:2], sep='.')"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def other_python() -> str:
    """A Python of another minor version than this one, or a skip."""
    beside = Path(sys.base_prefix).parent  # where pyenv and uv keep all of theirs
    candidates = [str(path) for path in sorted(beside.glob("*/bin/python3.1[1-9]"))]
    candidates += filter(None, (shutil.which(f"python3.{minor}") for minor in range(11, 20)))
    for candidate in candidates:
        if version_of(candidate) not in {None, f"3.{sys.version_info[1]}"}:
            return candidate
    pytest.skip("only one version of Python here")


def install(interpreter: str, directory: Path) -> Path:
    """envbuild from a wheel, in an environment made by another Python; returns the program."""
    uv = Path(sys.executable).with_name("uv")
    output_of(uv, "venv", "--quiet", "--no-python-downloads", "--python", interpreter, directory)
    python = directory / "bin" / "python"
    output_of(uv, "pip", "install", "--quiet", "--python", python, "--link-mode", "copy", _PROJECT)
    return directory / "bin" / "envbuild"


@dataclass(frozen=True, slots=True)
class Envbuild:
    """The ``envbuild`` program, run as users run it.

    Attributes:
        cache: its cache directory.
        program: the console script; by default the one of this Python.
        prefix: what the command line begins with, like ``setpriv ...``.
        environment: variables on top of this process's.
    """

    cache: Path
    program: Path = _PROGRAM
    prefix: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, *arguments: str | Path) -> list[str]:
        """The whole command line."""
        return [*self.prefix, str(self.program), *map(str, arguments)]

    def variables(self) -> dict[str, str]:
        """The whole environment."""
        return {**os.environ, "ENVBUILD_CACHE_DIR": str(self.cache), **self.environment}

    def start(self, *arguments: str | Path, cwd: Path | None = None) -> subprocess.Popen[str]:
        """Start it in a process group of its own, so that a Ctrl-C can be sent to all of it."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.variables(),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run it to its end, whatever that is."""
        process = self.start(*arguments, cwd=cwd)
        output, messages = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, output, messages)

    def document(self, *arguments: str | Path, cwd: Path | None = None) -> dict[str, Any]:
        """What it prints with ``--json``; a failure fails the test."""
        done = self.run(*arguments, "--json", cwd=cwd)
        assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
        document: dict[str, Any] = json.loads(done.stdout)
        return document
