"""What the benchmark works on: repositories, a cache that knows only the base, the peers' Docker."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["PROGRAMS", "base_only_cache", "docker_environment", "docker_programs", "output_of", "repository"]

PROGRAMS = Path(sys.executable).parent
_HERE = Path(__file__).parent
_QUICKSTART = _HERE.parent / "examples" / "quickstart"
_PYTHON = "3.11.2"  # Debian 12's, for all contestants


def repository(directory: Path, pin: str, previous: Path | None = None) -> Path:
    """A repository with the same pins in ``pins.txt``, for the peers, and in ``envbuild.lock``.

    Parameters:
        pin: the version of one package, like ``seaborn==0.13.1``.
        previous: the same repository before that version changed.
    """
    if (directory / "envbuild.lock").exists():
        return directory
    shutil.copytree(_QUICKSTART, directory, dirs_exist_ok=True)
    names = (_HERE / "science.in").read_text()
    (directory / "requirements.txt").write_text(f"{names}-c pins.txt\n")
    (directory / "envbuild.toml").write_text(f'name = "bench"\npython = "{_PYTHON.rpartition(".")[0]}"\n')
    (directory / ".dockerignore").write_text("envbuild.lock\n")
    wanted = directory / "wanted.in"
    wanted.write_text(f"{names}{pin}\n")
    resolve = [str(PROGRAMS / "uv"), "pip", "compile", str(wanted), "--no-annotate", "--no-header"]
    resolve += ["--python-version", _PYTHON, "--python-platform", "x86_64-manylinux_2_36"]
    output_of([*resolve, "--output-file", str(directory / "pins.txt")], os.environ)
    wanted.unlink()
    if previous is not None:
        shutil.copy(previous / "envbuild.lock", directory)
    output_of([str(PROGRAMS / "envbuild"), "lock", str(directory)], os.environ)
    return directory


def base_only_cache(directory: Path) -> Path:
    """A cache with the base image built in it, and no download that a user's packages could profit from."""
    if not directory.exists():
        unfinished = directory.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        build = [str(PROGRAMS / "envbuild"), "base", "build", "python-3.11"]
        output_of([*build, "--cache-dir", str(unfinished)], os.environ)
        for artifact in (unfinished / "artifacts-v1").iterdir():
            if artifact.read_bytes()[:2] == b"PK":  # a wheel; a deb begins with "!<arch>"
                artifact.unlink()
        for bucket in ("uv-v1", "sources-v2"):
            shutil.rmtree(unfinished / bucket, ignore_errors=True)
        unfinished.rename(directory)
    return directory


def docker_programs(work: Path) -> list[Path]:
    """The directories of the prepared Docker's programs."""
    return [work / "docker" / "usr" / name for name in ("bin", "sbin")]


def docker_environment(host: str, work: Path) -> dict[str, str]:
    """Variables that make ``docker`` the prepared one, with its buildx, and talk to ``host``."""
    configuration = work / "docker-config"
    plugins = configuration / "cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    buildx = plugins / "docker-buildx"
    buildx.unlink(missing_ok=True)
    buildx.symlink_to(work / "docker" / "usr" / "libexec" / "docker" / "cli-plugins" / "docker-buildx")
    path = os.pathsep.join([*map(str, docker_programs(work)), os.environ["PATH"]])
    return {**os.environ, "DOCKER_HOST": host, "DOCKER_CONFIG": str(configuration), "PATH": path}


def output_of(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """What a command that is not measured prints.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip()
