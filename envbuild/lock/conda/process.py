"""Running conda-lock, with py-rattler as its solver, where nothing of a repository can reach it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from envbuild.certificates import authorities
from envbuild.errors import MachineError, RemoteError
from envbuild.lock.conda.channels import Channels
from envbuild.lock.conda.reasons import explain_failure
from envbuild.source import Repo
from envbuild.spec.conda_lock_yml import read_conda_lock
from envbuild.spec.conda_locked import SUBDIRS, LockedCondaPackage
from envbuild.spec.match_spec import name_of
from envbuild.spec.model import CondaRequest
from envbuild.store import Store
from envbuild.store.disk import disk_errors

__all__ = ["ALWAYS", "CondaLock", "virtual_packages"]

ALWAYS = ("python", "pip", "ipykernel")
"""What an environment has, asked for or not, when its channels have it."""

_SHIM = Path(__file__).with_name("_shim.py")
_SECONDS = 1800
_KEPT = (
    *("PATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)
_LINUX = "5.10"
_ARCHSPECS = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}


def virtual_packages(
    platforms: Sequence[str], glibc: str, environment: Mapping[str, str]
) -> dict[str, list[tuple[str, str, str]]]:
    """What the image's machine provides: ``(name, version, build)`` by conda's name of the platform.

    Parameters:
        glibc: of the base (``2.36``).
        environment: the user's variables; ``CONDA_OVERRIDE_*`` say otherwise, as for conda itself.
    """

    def said(name: str, default: str) -> str:
        return environment.get(f"CONDA_OVERRIDE_{name}", default)

    found = {}
    for platform in platforms:
        subdir = SUBDIRS[platform]
        rows = [
            ("__unix", "0", "0"),
            ("__linux", said("LINUX", _LINUX), "0"),
            ("__glibc", said("GLIBC", glibc), "0"),
            ("__archspec", "1", said("ARCHSPEC", _ARCHSPECS[subdir])),
            ("__cuda", said("CUDA", ""), "0"),
        ]
        found[subdir] = [row for row in rows if row[1] and row[2]]
    return found


@dataclass(frozen=True, slots=True)
class CondaLock:
    """conda-lock with the user's channels and a private cache."""

    store: Store
    channels: Channels
    environment: Mapping[str, str] = field(repr=False)
    offline: bool = False

    def solve(
        self,
        request: CondaRequest,
        *,
        platforms: Sequence[str],
        glibc: str,
        preferred: Mapping[str, Sequence[str]],
        exclude_newer: str | None = None,
    ) -> dict[str, tuple[LockedCondaPackage, ...]]:
        """The packages that ``request`` gets, with those of :data:`ALWAYS` that its channels have.

        Parameters:
            platforms: ``linux/amd64``, ``linux/arm64``.
            glibc: of the base (``2.36``).
            preferred: by platform, exact MatchSpecs of what to keep where it still fits.
            exclude_newer: ignore what is newer (RFC 3339).

        Raises:
            RepoError: no solution; names the file and line of a package to blame.
            RemoteError: a channel is not there, or refuses us.
            UsageError: the user's channel settings cannot be used.
        """
        named = {name_of(package.text) for package in request.packages}
        optional = [name for name in ALWAYS if name not in named]
        question = {
            "channels": {channel: self.channels.address(channel) for channel in request.channels},
            "virtual": virtual_packages(platforms, glibc, self.environment),
            "preferred": {SUBDIRS[platform]: list(specs) for platform, specs in preferred.items()},
            "exclude_newer": exclude_newer,
            "cache": str(self.store.conda),
            "offline": self.offline,
        }
        while True:
            with self.store.temporary_directory() as directory, disk_errors(self.store.root):
                failure = self._run(directory, request, {**question, "optional": optional}, platforms)
                if failure is None:
                    return _answer(directory, platforms)
            absent = failure.get("names", []) if failure.get("kind") == "without" else []
            if not set(absent) & set(optional):
                raise explain_failure(failure, request)
            optional = [name for name in optional if name not in absent]

    def _run(
        self, directory: Path, request: CondaRequest, question: Mapping[str, Any], platforms: Sequence[str]
    ) -> dict[str, Any] | None:
        """Start conda-lock in ``directory``; returns why it failed, None when it did not."""
        specs = [*(package.text for package in request.packages), *question["optional"]]
        environment = {"channels": list(request.channels), "dependencies": specs}
        # JSON is YAML.
        (directory / "environment.yml").write_text(json.dumps(environment))
        (directory / "mapping.json").write_text("{}")
        secret = directory / "request.json"
        secret.touch(mode=0o600)
        secret.write_text(json.dumps(question))
        conda = directory / "conda"
        start = shlex.join([sys.executable, "-P", str(_SHIM)])
        conda.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec echo conda 24.1.0\nexec {start} "$@"\n')
        conda.chmod(0o700)
        command = [sys.executable, "-P", "-m", "conda_lock", "lock", "--log-level", "ERROR"]
        command += ["--conda", str(conda), "--file", "environment.yml", "--lockfile", "conda-lock.yml"]
        command += ["--without-cuda", "--pypi_to_conda_lookup_file", str(directory / "mapping.json")]
        command += [word for platform in platforms for word in ("--platform", SUBDIRS[platform])]
        try:
            result = subprocess.run(
                command,
                cwd=directory,
                env=self._variables(directory),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise RemoteError(
                f"conda-lock did not finish in {_SECONDS} seconds",
                code="channel-timeout",
                remedy="check the network and the channels, then try again",
            ) from error
        except OSError as error:
            raise MachineError(
                f"conda-lock cannot be started: {error.strerror}",
                code="no-conda-lock",
                remedy="reinstall envbuild: conda-lock is one of its dependencies",
            ) from error
        if result.returncode == 0:
            return None
        try:
            reason: dict[str, Any] = json.loads((directory / "failure.json").read_bytes())
        except OSError:
            reason = {"kind": "crash", "message": result.stderr.decode("utf-8", "replace")}
        return reason

    def _variables(self, directory: Path) -> dict[str, str]:
        """Nothing of the user's conda configuration, but how the network is reached."""
        kept = {key: self.environment[key] for key in _KEPT if key in self.environment}
        if (bundle := authorities(self.environment)) is not None:
            kept["SSL_CERT_FILE"] = str(bundle)
        return kept | {
            "HOME": str(directory),
            "TMPDIR": str(directory),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "ENVBUILD_CONDA_REQUEST": str(directory / "request.json"),
        }


def _answer(directory: Path, platforms: Sequence[str]) -> dict[str, tuple[LockedCondaPackage, ...]]:
    """What conda-lock wrote, with what it leaves out."""
    lock = read_conda_lock(Repo(directory), "conda-lock.yml")
    found = {}
    for platform in platforms:
        rows = json.loads((directory / f"answer-{SUBDIRS[platform]}.json").read_bytes())
        known = {row["filename"]: row for row in rows}
        packages = [
            replace(
                package,
                channel=known[package.filename]["channel"],
                size=known[package.filename]["size"],
                noarch=known[package.filename]["noarch"] or "",
                depends=tuple(sorted(known[package.filename]["depends"])),
                purls=tuple(known[package.filename]["purls"]),
                site_packages=known[package.filename]["python_site_packages_path"] or "",
            )
            for package in lock.conda[platform]
        ]
        found[platform] = tuple(sorted(packages, key=lambda package: package.name))
    return found
