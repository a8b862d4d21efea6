"""``conda-meta``: how conda, mamba, rattler and pixi know what is in an environment.

One JSON file per package (rattler's ``PrefixRecord``), and ``history``, by which conda knows that a directory
is an environment and what was asked for. Nothing here depends on where or when an image is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from envbuild.lock.model import CondaPackage

__all__ = ["history", "record"]

# Of index.json; the rest is the lock's, because channels correct what packages say (repodata patches).
_INDEX_KEYS = (
    "arch",
    "build_number",
    "constrains",
    "features",
    "license",
    "license_family",
    "platform",
    "python_site_packages_path",
    "timestamp",
    "track_features",
)
# Where packages really came from is the business of whoever builds, and differs from mirror to mirror. So a
# channel has the address that conda knows its name by. If it has no name (then the source's ends with a
# digest), that is an address which is nobody's (RFC 2606).
_NAMED = "https://conda.anaconda.org/"
_DEFAULTS = "https://repo.anaconda.com/pkgs/"
_UNNAMED = "https://channel.invalid/"
_DIGEST = re.compile(r"-[0-9a-f]{8}$")


def record(
    package: CondaPackage, index: Mapping[str, Any], paths: Sequence[Mapping[str, Any]]
) -> tuple[str, bytes]:
    """The name and the content of a package's file in ``conda-meta``.

    Parameters:
        index: the package's ``index.json``.
        paths: what it installed, as in ``paths_data`` of the record, sorted by ``_path``.
    """
    artifact = package.artifact
    channel = _channel(artifact.source)
    content = {key: index[key] for key in _INDEX_KEYS if index.get(key) is not None} | {
        "build": package.build,
        "channel": channel,
        "depends": list(package.depends),
        "files": [path["_path"] for path in paths],
        "fn": artifact.filename,
        "name": package.name,
        "paths_data": {"paths": list(paths), "paths_version": 1},
        "requested_spec": package.name if package.direct else "",
        "sha256": artifact.sha256,
        "size": artifact.size,
        "subdir": package.subdir,
        "url": f"{channel}/{package.subdir}/{artifact.filename}",
        "version": package.version,
    }
    content.setdefault("build_number", 0)
    if package.md5:
        content["md5"] = package.md5
    if index.get("noarch") in ("python", "generic"):
        content["noarch"] = index["noarch"]
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    return f"{package.name}-{package.version}-{package.build}.json", text.encode()


def _channel(source: str) -> str:
    if source.startswith("pkgs-"):
        return _DEFAULTS + source.removeprefix("pkgs-")
    return (_UNNAMED if _DIGEST.search(source) else _NAMED) + source


def history(packages: Iterable[CondaPackage]) -> bytes:
    """The content of ``conda-meta/history``: one revision with all ``packages``.

    >>> history(())
    b'==> 1980-01-01 00:00:01 <==\\n# update specs: []\\n'
    """
    chosen = sorted(packages)
    lines = ["==> 1980-01-01 00:00:01 <=="]
    lines += [
        f"+{package.artifact.source}/{package.subdir}::{package.name}-{package.version}-{package.build}"
        for package in chosen
    ]
    asked_for = [package.name for package in chosen if package.direct]
    lines.append(f"# update specs: {json.dumps(asked_for)}")
    return "".join(f"{line}\n" for line in lines).encode()
