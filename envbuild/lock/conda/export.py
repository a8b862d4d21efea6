"""``conda-lock.yml`` from a lock, as conda-lock itself reads it.

The format names files by address: where named channels usually are. Mirrors and credentials are not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from envbuild.errors import RepoError
from envbuild.lock.conda.channels import usual_address
from envbuild.lock.lockfile import FILENAME
from envbuild.lock.model import Artifact, CondaPackage, Lock, Wheel
from envbuild.spec.conda_locked import SUBDIRS

__all__ = ["render_conda_lock"]


def render_conda_lock(
    lock: Lock, *, channels: Mapping[str, str], url_of: Callable[[Artifact], str], source: str
) -> bytes:
    """``lock``'s environment in version 1 of conda-lock's format, sorted.

    Parameters:
        channels: the channel that each source of a conda package is (``recall_channels``).
        url_of: the address of a wheel, without credentials.
        source: the file that the lock was made from (``environment.yml``).

    Raises:
        RepoError: the environment is not conda's, or a package has no MD5, which conda-lock demands.
    """
    if not any(target.conda for target in lock.targets):
        raise RepoError(
            "there are no conda packages in this lock",
            code="nothing-to-export",
            file=FILENAME,
            remedy="export it as pylock.toml or requirements.txt",
        )
    packages = []
    for target in sorted(lock.targets, key=lambda target: target.platform):
        subdir = SUBDIRS[target.platform]
        packages += [_conda_row(package, subdir, channels) for package in target.conda]
        packages += [_wheel_row(wheel, subdir, url_of(wheel.artifact)) for wheel in target.wheels]
    subdirs = sorted(SUBDIRS[target.platform] for target in lock.targets)
    used = {package.artifact.source for target in lock.targets for package in target.conda}
    document = {
        "version": 1,
        "metadata": {
            "content_hash": {subdir: lock.inputs.removeprefix("sha256:") for subdir in subdirs},
            "channels": [{"url": channels[name], "used_env_vars": []} for name in sorted(used)],
            "platforms": subdirs,
            "sources": [source],
        },
        "package": packages,
    }
    text: str = yaml.safe_dump(document, sort_keys=False, width=10_000)
    return text.encode()


def _conda_row(package: CondaPackage, subdir: str, channels: Mapping[str, str]) -> dict[str, Any]:
    if not package.md5:
        raise RepoError(
            f"{package.name} has no MD5 in this lock, and conda-lock demands one",
            code="nothing-to-export",
            file=FILENAME,
            remedy="lock anew from environment.yml",
        )
    return {
        "name": package.name,
        "version": package.version,
        "manager": "conda",
        "platform": subdir,
        "dependencies": dict(_depends(package)),
        "url": f"{usual_address(channels[package.artifact.source])}/{package.artifact.path}",
        "hash": {"md5": package.md5, "sha256": package.artifact.sha256},
        "category": "main",
        "optional": False,
    }


def _depends(package: CondaPackage) -> Iterator[tuple[str, str]]:
    """What the package depends on; of several lines about one name the versions together."""
    together: dict[str, list[str]] = {}
    for text in package.depends:
        name, _, version = text.partition(" ")
        together.setdefault(name, []).append(version)
    for name, versions in sorted(together.items()):
        yield name, ",".join(version for version in versions if version)


def _wheel_row(wheel: Wheel, subdir: str, url: str) -> dict[str, Any]:
    return {
        "name": wheel.name,
        "version": wheel.version,
        "manager": "pip",
        "platform": subdir,
        "dependencies": {},
        "url": url,
        "hash": {"sha256": wheel.artifact.sha256},
        "category": "main",
        "optional": False,
    }
