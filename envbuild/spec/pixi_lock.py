"""``pixi.lock``: versions 4 to 7 of the format pixi and rattler write."""

from __future__ import annotations

import re
from dataclasses import replace

from envbuild.errors import UsageError
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
from envbuild.spec.model import SourceRequirement
from envbuild.spec.yaml_file import Node, read_yaml

__all__ = ["read_pixi_lock"]

_FILE_LIMIT = 32 << 20
_VERSIONS = ("4", "5", "6", "7")
_FOLDER = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*", re.ASCII)
_KINDS = ("conda", "pypi")


def read_pixi_lock(repo: Repo, path: str, environment: str = "default") -> LockedConda:
    """Read one environment of ``pixi.lock``.

    Raises:
        RepoError: it cannot be read, or something in it cannot be.
        UsageError: there is no such environment.
    """
    root = read_yaml(repo, path, _FILE_LIMIT)
    table = root.table("the lock")
    version = table.get("version", root)
    if version.value not in _VERSIONS:
        raise version.bad_lock(f"version {version.shown} of pixi.lock is not supported; 4 to 7 are")
    environments = table["environments"].table("environments") if "environments" in table else {}
    if environment not in environments:
        if environment != "default":
            raise UsageError(
                f"{printable(path)} has no environment {quote(environment)}",
                code="unknown-group",
                remedy=f"choose from {', '.join(quote(name) for name in environments)}",
            )
        raise root.bad_lock("there is no environment `default`")
    known = _packages(table.get("packages"))
    chosen = environments[environment].table("an environment")
    by_platform = chosen["packages"].table("packages") if "packages" in chosen else {}
    conda: dict[str, tuple[LockedCondaPackage, ...]] = {}
    wheels: dict[str, tuple[LockedWheel, ...]] = {}
    sources: dict[str, SourceRequirement] = {}
    for platform, subdir in SUBDIRS.items():
        if subdir not in by_platform:
            continue
        packages: dict[str, LockedCondaPackage] = {}
        files: dict[str, LockedWheel] = {}
        for node in by_platform[subdir].items("packages"):
            kind, url = _reference(node)
            entry = known.get((kind, url.text("a URL")))
            if entry is None:
                raise url.bad_lock(f"{quote(url.text('a URL'))} is not among the packages")
            if kind == "conda":
                package = _conda(url, entry)
                _once(package.name in packages, package.name, node)
                packages[package.name] = package
            elif _is_local(url):
                sources[url.text("a path")] = _local(url, printable(path))
            else:
                wheel = _wheel(url, entry)
                _once(wheel.name in files, wheel.name, node)
                files[wheel.name] = wheel
        conda[platform], wheels[platform] = tuple(packages.values()), tuple(files.values())
    return LockedConda(printable(path), conda, wheels, tuple(sources[key] for key in sorted(sources)))


def _packages(node: Node | None) -> dict[tuple[str, str], dict[str, Node]]:
    """The packages of all environments by kind and URL."""
    found = {}
    for item in node.items("packages") if node else ():
        entry = item.table("a package")
        if "kind" in entry:  # up to version 5
            kind, url = entry["kind"].text("kind"), entry.get("url") or entry.get("path") or item
        else:
            kind, url = _reference(item)
        found[kind, url.text("a URL")] = entry
    return found


def _reference(node: Node) -> tuple[str, Node]:
    entry = node.table("a package")
    for kind in _KINDS:
        if kind in entry:
            return kind, entry[kind]
    raise node.bad_lock("this is neither a conda nor a pypi package")


def _once(again: bool, name: str, node: Node) -> None:
    if again:
        raise node.bad_lock(f"{quote(name)} is there twice for one platform")


def _conda(url: Node, entry: dict[str, Node]) -> LockedCondaPackage:
    depends = entry["depends"].items("depends") if "depends" in entry else []
    package = conda_package(
        url,
        sha256=entry.get("sha256"),
        md5=entry.get("md5"),
        size=entry.get("size"),
        noarch=entry.get("noarch"),
        depends=tuple(item.text("a dependency") for item in depends),
    )
    if (folder := entry.get("python_site_packages_path")) is not None:
        text = folder.text("python_site_packages_path")
        if not _FOLDER.fullmatch(text) or ".." in text.split("/"):
            raise folder.bad_lock(f"{quote(text)} is not a place in an environment")
        package = replace(package, site_packages=text)
    return package


def _wheel(url: Node, entry: dict[str, Node]) -> LockedWheel:
    name = entry["name"].text("name") if "name" in entry else ""
    version = entry["version"].text("version") if "version" in entry else ""
    return pypi_file(url, name=name, version=version, sha256=entry.get("sha256"))


def _is_local(url: Node) -> bool:
    return "://" not in url.text("a URL")


def _local(url: Node, path: str) -> SourceRequirement:
    """A project in the repository that was locked by its path."""
    location = url.text("a path").removeprefix("./").rstrip("/") or "."
    if location.startswith("/") or ".." in location.split("/"):
        raise url.error(f"{quote(location)} is outside of the repository", code="outside-repository")
    return SourceRequirement("path", location, path, url.line, editable=True)
