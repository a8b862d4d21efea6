"""``conda-lock.yml``: version 1 of conda-lock's format.

https://conda.github.io/conda-lock/output/#unified-lockfile
"""

from __future__ import annotations

from envbuild.errors import RepoError
from envbuild.source import Repo, printable
from envbuild.source.text import quote
from envbuild.spec.conda_locked import (
    SUBDIRS,
    LockedConda,
    LockedCondaPackage,
    LockedWheel,
    conda_package,
    pypi_file,
)
from envbuild.spec.yaml_file import Node, read_yaml

__all__ = ["read_conda_lock"]

_FILE_LIMIT = 32 << 20
_VERSION = "1"


def read_conda_lock(repo: Repo, path: str, categories: tuple[str, ...] = ()) -> LockedConda:
    """Read ``conda-lock.yml``.

    Parameters:
        categories: those to have beside ``main``.

    Raises:
        RepoError: it cannot be read, or something in it cannot be.
    """
    root = read_yaml(repo, path, _FILE_LIMIT)
    table = root.table("the lock")
    version = table.get("version", root)
    if version.value != _VERSION:
        raise version.bad_lock(f"version {version.shown} of conda-lock.yml is not supported; 1 is")
    if "package" not in table:
        raise root.bad_lock("there is no `package` list")
    platforms = {subdir: platform for platform, subdir in SUBDIRS.items()}
    conda: dict[str, dict[str, LockedCondaPackage]] = {}
    wheels: dict[str, dict[str, LockedWheel]] = {}
    for platform in _platforms(table):
        if platform in platforms:
            conda[platforms[platform]], wheels[platforms[platform]] = {}, {}
    for node in table["package"].items("package"):
        entry = node.table("a package")
        subdir = _text(entry, "platform", node)
        if subdir not in platforms:
            continue
        category = entry["category"].text("category") if "category" in entry else "main"
        if category not in ("main", *categories):
            continue
        platform, manager = platforms[subdir], _text(entry, "manager", node)
        hashes = entry["hash"].table("hash") if "hash" in entry else {}
        url = entry.get("url") or node
        if manager == "conda":
            package = conda_package(
                url,
                sha256=hashes.get("sha256"),
                md5=hashes.get("md5"),
                size=None,
                noarch=None,
                depends=_depends(entry.get("dependencies")),
            )
            _same(package, entry, node, subdir)
            here = conda.setdefault(platform, {})
            if here.setdefault(package.name, package).sha256 != package.sha256:
                raise _twice(node, package.name)
        elif manager == "pip":
            wheel = pypi_file(
                url,
                name=_text(entry, "name", node),
                version=_text(entry, "version", node),
                sha256=hashes.get("sha256"),
            )
            files = wheels.setdefault(platform, {})
            if files.setdefault(wheel.name, wheel).sha256 != wheel.sha256:
                raise _twice(node, wheel.name)
        else:
            raise node.bad_lock(f"{quote(manager)} is not a manager conda-lock has")
    return LockedConda(
        printable(path),
        {platform: tuple(found.values()) for platform, found in conda.items()},
        {platform: tuple(found.values()) for platform, found in wheels.items()},
    )


def _platforms(table: dict[str, Node]) -> list[str]:
    metadata = table["metadata"].table("metadata") if "metadata" in table else {}
    platforms = metadata["platforms"].items("platforms") if "platforms" in metadata else []
    return [platform.text("a platform") for platform in platforms]


def _text(entry: dict[str, Node], key: str, place: Node) -> str:
    if key not in entry:
        raise place.bad_lock(f"this package has no {key}")
    return entry[key].text(key)


def _twice(node: Node, name: str) -> RepoError:
    message = f"{quote(name)} is there twice for one platform"
    return node.bad_lock(message)


def _depends(node: Node | None) -> tuple[str, ...]:
    table = node.table("dependencies") if node else {}
    return tuple(f"{name} {value.value or ''}".strip() for name, value in table.items())


def _same(package: LockedCondaPackage, entry: dict[str, Node], place: Node, subdir: str) -> None:
    """What the entry says must be what its URL says."""
    said = (_text(entry, "name", place), _text(entry, "version", place))
    if said != (package.name, package.version) or package.subdir not in ("noarch", subdir):
        raise place.bad_lock(f"{quote(package.filename)} is not {said[0]} {said[1]} for {subdir}")
