"""The second resolver: requirements in, pins with wheels out, by pip-tools."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from packaging.pylock import Package, PackageWheel
from packaging.utils import NormalizedName
from packaging.version import Version

from envbuild.errors import MachineError, RemoteError
from envbuild.lock.pip_reasons import explain_failure
from envbuild.lock.resolver import chosen_pins, parse_requirement
from envbuild.lock.select import Pin, marker_environment, target_tags
from envbuild.network.indexes import user_indexes
from envbuild.spec.model import Requirement
from envbuild.store import Store
from envbuild.store.disk import disk_errors

__all__ = ["PipTools"]

_SECONDS = 1800
_WORKER = Path(__file__).with_name("_pip_tools_worker.py")


@dataclass(frozen=True, slots=True)
class PipTools:
    """pip-tools as a :class:`~envbuild.lock.resolver.Resolver`: in a process and a directory of its own.

    ``environment`` is the user's (normally ``os.environ``); it may hold credentials and is not shown.
    """

    store: Store
    environment: Mapping[str, str] = field(repr=False)
    offline: bool = False
    name: ClassVar[str] = "pip-tools"

    def resolve(
        self,
        requirements: Sequence[Requirement],
        constraints: Sequence[Requirement] = (),
        *,
        python: str,
        glibc: str,
        platform: str,
        exclude_newer: str | None = None,
        preferences: Mapping[str, str] | None = None,
    ) -> tuple[Pin, ...]:
        """See :meth:`envbuild.lock.resolver.Resolver.resolve`."""
        asked = [*requirements, *constraints]
        for requirement in asked:
            parse_requirement(requirement)
        files = {
            "requirements.in": "".join(f"{requirement.text}\n" for requirement in requirements).encode(),
            "constraints.txt": "".join(f"{requirement.text}\n" for requirement in constraints).encode(),
        }
        request = {
            **self._target(python, glibc, platform),
            "exclude_newer": exclude_newer,
            "preferences": dict(preferences or {}),
            "compile": None,
        }
        answer, _ = self._run(request, files)
        if "failure" in answer:
            raise explain_failure(
                answer["failure"], requirements, constraints, f"{platform}, Python {python}"
            )
        return chosen_pins(
            map(_package, answer["packages"]),
            asked,
            python=python,
            glibc=glibc,
            platform=platform,
            environment=self.environment,
        )

    def compile(
        self,
        arguments: Sequence[str],
        files: Mapping[str, bytes],
        requirements: Sequence[Requirement],
        *,
        python: str,
        glibc: str,
        platform: str,
        exclude_newer: str | None,
        command: str | None,
    ) -> Mapping[str, bytes]:
        """Run ``pip-compile`` for a target.

        Parameters:
            arguments: of its command line.
            files: what it works on, by path relative to the directory it runs in.
            requirements: those in ``files``, to trace a failure to.
            command: what the header of its output says.

        Returns:
            the files as they are afterwards.

        Raises:
            RepoError, RemoteError, MachineError: as :meth:`resolve`.
        """
        request = {
            **self._target(python, glibc, platform),
            "exclude_newer": exclude_newer,
            "preferences": {},
            "compile": list(arguments),
        }
        answer, after = self._run(request, files, command)
        if "failure" in answer:
            raise explain_failure(answer["failure"], requirements, (), f"{platform}, Python {python}")
        return after

    def _target(self, python: str, glibc: str, platform: str) -> dict[str, Any]:
        tags = target_tags(python, platform, glibc)
        return {
            "python": python,
            "platforms": list(dict.fromkeys(tag.platform for tag in tags if tag.platform != "any")),
            "markers": marker_environment(python, platform),
            "cache": str(self.store.pip),
        }

    def _run(
        self, request: Mapping[str, Any], files: Mapping[str, bytes], command: str | None = None
    ) -> tuple[dict[str, Any], Mapping[str, bytes]]:
        indexes = user_indexes(self.environment)
        if self.offline and indexes.remote:
            raise RemoteError(
                "pip-tools asks the package index every time, and this is an offline run",
                code="offline",
                remedy="run without --offline, or use `--resolver uv`, which can answer from its cache",
            )
        environment = indexes.pip_variables(self.environment)
        if command is not None:
            environment["CUSTOM_COMPILE_COMMAND"] = command
        with self.store.temporary_directory() as outer, disk_errors(self.store.root):
            # What the files include may be above them, in the repository; here it is below `outer`.
            above = max((name.split("/").count("..") for name in files), default=0)
            directory = outer.joinpath(*["x"] * (above + 1))
            directory.mkdir(parents=True)
            for name, data in files.items():
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                (directory / name).write_bytes(data)
            said = self._call(directory, request, environment)
            try:
                answer = json.loads((directory / "answer.json").read_bytes())
            except (OSError, ValueError) as error:
                raise MachineError(
                    "pip-tools ended without an answer",
                    code="resolver-failed",
                    remedy="reinstall envbuild: pip-tools is one of its dependencies",
                    detail=said[-2000:],
                ) from error
            return answer, {name: (directory / name).read_bytes() for name in files}

    def _call(self, directory: Path, request: Mapping[str, Any], environment: Mapping[str, str]) -> str:
        """Run the worker; returns what it said."""
        try:
            result = subprocess.run(
                # -P: what is in the current directory is not there to be imported.
                [sys.executable, "-P", str(_WORKER)],
                input=json.dumps(request).encode(),
                cwd=directory,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise RemoteError(
                f"pip-tools did not finish in {_SECONDS} seconds",
                code="index-timeout",
                remedy="check the network and the package index, then try again",
            ) from error
        return result.stderr.decode("utf-8", "replace")


def _package(found: Mapping[str, Any]) -> Package:
    version = Version(found["version"])
    return Package(
        name=NormalizedName(found["name"]),
        version=version,
        wheels=[
            PackageWheel(name=wheel["filename"], url=wheel["url"], hashes={"sha256": wheel["sha256"]})
            for wheel in found["wheels"]
            if wheel["sha256"]
        ],
    )
