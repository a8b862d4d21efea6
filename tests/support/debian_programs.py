"""Programs of newer Debian releases: fetched and verified like bubblewrap is, and not installed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from envbuild.base.host import host_platform
from envbuild.base.interpreter import LIBRARY_DIRECTORIES, unpack_debs
from envbuild.base.locking import resolve_tool
from envbuild.base.mirrors import find_mirrors
from envbuild.fetch import Fetcher, Sources
from envbuild.progress import Silent
from envbuild.store import Store

__all__ = ["debian_program"]


def debian_program(name: str, suite: str, directory: Path, *libraries: str) -> tuple[str, ...]:
    """The command that starts ``name`` of the package with this name.

    Parameters:
        directory: an empty one, for a cache.
        libraries: the packages it links to; others are not fetched.
    """
    store = Store(directory)
    store.prepare()
    mirrors = find_mirrors({}, at=datetime.now(UTC))
    platform = host_platform()
    wanted = {name, *libraries}
    debs = [
        deb
        for deb in resolve_tool(
            suite,
            platform.removeprefix("linux/"),
            tuple(sorted(wanted)),
            excluded={},
            store=store,
            mirrors=mirrors,
            reporter=Silent(),
        )
        if deb.name in wanted
    ]
    root = directory / name
    root.mkdir()
    sources = Sources({"debian": mirrors.debian, "debian-security": mirrors.security})
    with Fetcher(store, sources) as fetcher:
        unpack_debs(debs, root, fetcher.fetch)
    libraries_directory, loader = LIBRARY_DIRECTORIES[platform]
    place = root / libraries_directory
    return (
        str(place / loader),
        "--inhibit-cache",
        "--library-path",
        str(place),
        str(root / "usr/bin" / name),
    )
