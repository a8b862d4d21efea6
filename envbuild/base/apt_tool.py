"""apt of a Debian release, fetched and unpacked like bubblewrap, and started without being installed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from envbuild.base.host import host_platform
from envbuild.base.interpreter import LIBRARY_DIRECTORIES, unpack_debs
from envbuild.base.locking import resolve_tool
from envbuild.base.mirrors import Mirrors
from envbuild.fetch import Fetcher, Sources
from envbuild.progress import Reporter
from envbuild.store import Store
from envbuild.store.directory import checked_directory, make_directory

__all__ = ["apt_tool"]

# What apt does without here: it neither fetches, verifies nor installs anything.
_EXCLUDED: Final = dict.fromkeys(
    ("adduser", "debconf", "debian-archive-keyring", "gpgv", "openssl", "perl-base", "sqv"),
    "apt only solves here",
)


def apt_tool(
    suite: str, *, store: Store, mirrors: Mirrors, reporter: Reporter, offline: bool = False
) -> tuple[str, ...]:
    """The command that starts ``apt-get`` of ``suite`` on this machine, through its own loader.

    Raises:
        MachineError: Linux programs of no known architecture run here.
        RemoteError: it is not in the cache and cannot be fetched.
    """
    platform = host_platform()
    architecture = platform.removeprefix("linux/")
    place = store.tools / f"apt-{suite}-{architecture}"

    def install(tree: Path) -> None:
        _install(tree, suite, architecture, store, mirrors, reporter, offline=offline)

    if checked_directory(store, place) is None:
        with store.lock("apt"):
            if checked_directory(store, place) is None:
                make_directory(store, place, install)
    root = place / "tree"
    directory, loader = LIBRARY_DIRECTORIES[platform]
    libraries = root / directory
    return (
        str(libraries / loader),
        "--inhibit-cache",
        "--library-path",
        str(libraries),
        str(root / "usr/bin/apt-get"),
    )


def _install(
    tree: Path,
    suite: str,
    architecture: str,
    store: Store,
    mirrors: Mirrors,
    reporter: Reporter,
    *,
    offline: bool,
) -> None:
    debs = resolve_tool(
        suite,
        architecture,
        ("apt",),
        excluded=_EXCLUDED,
        store=store,
        mirrors=mirrors,
        reporter=reporter,
        offline=offline,
    )
    sources = Sources({"debian": mirrors.debian, "debian-security": mirrors.security})
    with Fetcher(store, sources, offline=offline) as fetcher, reporter.stage("apt") as stage:
        unpack_debs(debs, tree, lambda artifact: fetcher.fetch(artifact, stage))
