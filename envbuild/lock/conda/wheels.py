"""Wheels that join a conda environment: the ``pip:`` section, solved by uv.

What conda brings is there already. uv is told so by wheels with nothing inside, of the same names and
versions, that no index has; they are in the solution and not in the answer.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from packaging.version import Version

from envbuild.lock.conda.part import CondaPart
from envbuild.lock.select import Pin
from envbuild.lock.uv import UvResolver
from envbuild.lock.uv_process import Uv
from envbuild.spec.model import Requirement

__all__ = ["BesideConda"]

# A local version label (PEP 440): newer than any index's file of that version, and equal to it for `==`.
_LABEL = "conda"


@dataclass(frozen=True, slots=True)
class BesideConda:
    """A :class:`~envbuild.lock.resolver.Resolver` for what pip adds to the packages of ``part``."""

    uv: Uv
    part: CondaPart
    name: ClassVar[str] = "uv"

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
        """See :meth:`envbuild.lock.resolver.Resolver.resolve`; the Python is that of the environment."""
        provided = {
            name: f"{Version(version).public}+{_LABEL}"
            for name, version in self.part.provided(platform).items()
        }
        fixed = [Requirement(f"{name}=={version}", "") for name, version in sorted(provided.items())]
        with self.uv.store.temporary_directory() as directory:
            for name, version in provided.items():
                _write_empty_wheel(directory, name, version)
            return UvResolver(self.uv, find_links=directory, left_out=frozenset(provided)).resolve(
                requirements,
                [*constraints, *fixed],
                python=self.part.python(platform) or python,
                glibc=glibc,
                platform=platform,
                exclude_newer=exclude_newer,
                preferences=preferences,
            )


def _write_empty_wheel(directory: Path, name: str, version: str) -> None:
    escaped = re.sub(r"[-_.]+", "_", name)
    info = f"{escaped}-{version}.dist-info"
    with zipfile.ZipFile(directory / f"{escaped}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
