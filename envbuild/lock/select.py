"""Which wheel fits a target: tags (PEP 425, PEP 600), markers (PEP 508), and the resulting :class:`Pin`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from packaging.pylock import PackageWheel
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from envbuild.lock.model import Built

__all__ = ["MACHINES", "Pin", "best_wheel", "marker_environment", "target_tags"]

MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
"""OCI platform -> what Linux calls the machine (``platform_machine``, wheel tags)."""

_LEGACY_POLICIES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_OLDEST_POLICY = {"x86_64": 5, "aarch64": 17}


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a solution and the wheel chosen for the target.

    ``name`` is normalised (PEP 503). ``url`` is absolute and where the user's own index has the file; it is
    never written down. ``size`` is in bytes, None when the index does not tell. ``built`` is what the wheel
    was built from, when no index has it; then there is no URL.
    """

    name: str
    version: str
    filename: str
    sha256: str
    url: str = field(repr=False, compare=False)
    size: int | None = None
    built: Built | None = None


def target_tags(python: str, platform: str, glibc: str) -> list[Tag]:
    """All tags that a CPython on a Linux takes, best first.

    Parameters:
        python: exact version (``3.11.2``).
        platform: ``linux/amd64`` or ``linux/arm64``.
        glibc: the newest manylinux policy that fits (``2.36``).
    """
    machine = MACHINES[platform]
    major, minor = (int(part) for part in python.split(".")[:2])
    newest = int(glibc.split(".")[1])
    platforms = [f"linux_{machine}"]
    for policy in range(newest, _OLDEST_POLICY[machine] - 1, -1):
        platforms.append(f"manylinux_2_{policy}_{machine}")
        if policy in _LEGACY_POLICIES:
            platforms.append(f"{_LEGACY_POLICIES[policy]}_{machine}")
    interpreter = f"cp{major}{minor}"
    return [
        *cpython_tags((major, minor), [interpreter], platforms),
        *compatible_tags((major, minor), interpreter, platforms),
    ]


def marker_environment(python: str, platform: str) -> dict[str, str]:
    """The values that environment markers (PEP 508) have on the target.

    ``python`` is exact (``3.11.2``). The kernel is that of wherever the image runs, so its version is empty.
    """
    return {
        "implementation_name": "cpython",
        "implementation_version": python,
        "os_name": "posix",
        "platform_machine": MACHINES[platform],
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": "linux",
    }


def best_wheel(wheels: Sequence[PackageWheel], tags: Sequence[Tag]) -> PackageWheel | None:
    """The wheel whose tags come first in ``tags`` (then the highest build number), None when none fits."""
    ranks = {tag: rank for rank, tag in reversed(list(enumerate(tags)))}
    candidates = []
    for wheel in wheels:
        _, _, build, wheel_tags = parse_wheel_filename(wheel.filename)
        fitting = [ranks[tag] for tag in wheel_tags if tag in ranks]
        if fitting:
            order = (-min(fitting), build or (0, ""), wheel.filename)
            candidates.append((order, wheel))
    return max(candidates, key=lambda candidate: candidate[0])[1] if candidates else None
