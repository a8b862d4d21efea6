"""Poetry, PDM, Pipenv, pip-tools and conda-lock, each in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from tests.support.programs import output_of

__all__ = ["LockTools", "default_index", "pins_of"]

_UV = str(Path(sys.executable).with_name("uv"))
# PDM's own lock of what it needs: with a newer unearth its HTTP client is of another library than hishel's.
_PACKAGES = {
    "poetry": ("poetry>=2.1", "poetry-plugin-export"),
    "poetry-1": ("poetry==1.8.5", "poetry-plugin-export<1.9"),
    "pdm": ("pdm[locked]",),
    "pipenv": ("pipenv",),
    "pip-tools": ("pip-tools",),
    "conda-lock": ("conda-lock",),
}


@dataclass(frozen=True, slots=True)
class LockTools:
    """Installs a tool below ``directory`` when it is used for the first time."""

    directory: Path

    def run(self, tool: str, program: str, *arguments: str | Path, cwd: Path) -> str:
        """What ``program`` of ``tool`` prints, run in ``cwd`` with a home of its own."""
        folder = self.directory / tool
        if not (folder / "complete").exists():
            output_of(_UV, "venv", "--quiet", "--clear", "--python", sys.executable, folder)
            output_of(
                _UV, "pip", "install", "--quiet", "--python", folder / "bin" / "python", *_PACKAGES[tool]
            )
            (folder / "complete").touch()
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        environment = {
            **{key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"},
            "HOME": str(home),
            "PIPENV_VENV_IN_PROJECT": "1",
            "PIPENV_NOSPIN": "1",
            "PDM_CHECK_UPDATE": "false",
            "POETRY_VIRTUALENVS_CREATE": "false",
        }
        done = subprocess.run(
            [folder / "bin" / program, *arguments],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{tool}: {done.stdout}\n{done.stderr}"
        return done.stdout


def default_index() -> str:
    """The address of the index that uv uses when none is configured."""
    printed = subprocess.run(
        [_UV, "pip", "compile", "--quiet", "--emit-index-url", "--no-header", "-"],
        input="",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return printed.removeprefix("--index-url").strip()


def pins_of(text: str, environment: dict[str, str]) -> dict[str, str]:
    """The versions by name that exported requirements have for a target; hashes and options are left out."""
    pins = {}
    for line in text.replace("\\\n", " ").splitlines():
        content = line.partition(" --hash")[0].strip()
        if not content or content.startswith(("#", "-")):
            continue
        requirement = Requirement(content)
        if requirement.marker is None or requirement.marker.evaluate({**environment, "extra": ""}):
            (pin,) = requirement.specifier
            pins[requirement.name.lower().replace("_", "-")] = pin.version
    return pins
