"""The default resolver: requirements in, pins with wheels out, by uv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from packaging.pylock import Pylock

from envbuild.lock.reasons import explain
from envbuild.lock.resolver import chosen_pins, parse_requirement
from envbuild.lock.select import MACHINES, Pin
from envbuild.lock.uv_process import Uv, UvFailure
from envbuild.spec.model import Requirement

__all__ = ["UvResolver", "look_up", "uv_platform"]


def uv_platform(platform: str, glibc: str) -> str:
    """uv's name of a target.

    >>> uv_platform("linux/arm64", "2.36")
    'aarch64-manylinux_2_36'
    """
    return f"{MACHINES[platform]}-manylinux_{glibc.replace('.', '_')}"


@dataclass(frozen=True, slots=True)
class UvResolver:
    """uv as a :class:`~envbuild.lock.resolver.Resolver`.

    ``find_links`` is a directory with more wheels, ``left_out`` names what is solved for and not returned.
    """

    uv: Uv
    find_links: Path | None = None
    left_out: frozenset[str] = frozenset()
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
        """See :meth:`envbuild.lock.resolver.Resolver.resolve`."""
        asked = [*requirements, *constraints]
        for requirement in asked:
            parse_requirement(requirement)
        options = ["--exclude-newer", exclude_newer] if exclude_newer else []
        if self.find_links is not None:
            # What the user has in UV_FIND_LINKS counts only while there is no such option.
            more = self.uv.environment.get("UV_FIND_LINKS", "").replace(",", " ").split()
            options += [word for place in (str(self.find_links), *more) for word in ("--find-links", place)]
        try:
            solution = self.uv.compile(
                [requirement.text for requirement in requirements],
                constraints=[requirement.text for requirement in constraints],
                preferences=preferences or {},
                python=python,
                uv_platform=uv_platform(platform, glibc),
                options=options,
            )
        except UvFailure as failure:
            raise explain(
                failure.reason, requirements, constraints, f"{platform}, Python {python}"
            ) from failure
        return chosen_pins(
            [package for package in solution.packages if package.name not in self.left_out],
            asked,
            python=python,
            glibc=glibc,
            platform=platform,
            environment=self.uv.environment,
        )


def look_up(
    pins: Mapping[str, str], *, uv: Uv, python: str, glibc: str, platform: str, refresh: bool = False
) -> Pylock:
    """What the index has for exact versions: nothing is solved, dependencies are not looked at.

    Parameters:
        pins: versions by name.
        refresh: ask the index again instead of using uv's cached answers.

    Raises:
        UvFailure: a version is not in the index or has no wheel for the target.
    """
    options = ["--no-deps", *(("--refresh",) if refresh else ())]
    return uv.compile(
        [f"{name}=={version}" for name, version in sorted(pins.items())],
        preferences={},
        python=python,
        uv_platform=uv_platform(platform, glibc),
        options=options,
    )
