"""The engines of this machine, ready to choose from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from envbuild.base.host import host_platform
from envbuild.base.interpreter import unpack_debs
from envbuild.base.locking import resolve_tool
from envbuild.base.mirrors import Mirrors
from envbuild.engine.bubblewrap import Bubblewrap
from envbuild.engine.bubblewrap_tool import PACKAGES
from envbuild.engine.docker import Docker
from envbuild.engine.podman import Podman
from envbuild.fetch import Fetcher, Sources
from envbuild.image.finding import Bring, all_here
from envbuild.progress import Reporter
from envbuild.store import Store

__all__ = ["Engines", "machine_engines"]

_SUITE = "trixie"  # the oldest Debian whose bubblewrap knows --overlay-src


class Engines(NamedTuple):
    """One of each, in the order in which ``auto`` tries them."""

    bubblewrap: Bubblewrap
    docker: Docker
    podman: Podman


def machine_engines(
    store: Store,
    *,
    mirrors: Mirrors,
    environment: Mapping[str, str],
    offline: bool,
    reporter: Reporter,
    bring: Bring = all_here,
) -> Engines:
    """The engines that ``auto`` tries.

    Parameters:
        mirrors: where bubblewrap is fetched from on machines that have none of their own.
        environment: the user's variables; they tell where Docker and podman are.
        offline: do not fetch bubblewrap.
        bring: gets layers that an engine lacks into the store.
    """

    def install(tree: Path) -> None:
        architecture = host_platform().partition("/")[2]
        debs = resolve_tool(
            _SUITE,
            architecture,
            PACKAGES,
            excluded={},
            store=store,
            mirrors=mirrors,
            reporter=reporter,
            offline=offline,
        )
        sources = Sources({"debian": mirrors.debian, "debian-security": mirrors.security})
        with Fetcher(store, sources, offline=offline) as fetcher, reporter.stage("engine") as stage:
            unpack_debs(debs, tree, lambda artifact: fetcher.fetch(artifact, stage))

    return Engines(
        Bubblewrap(store, install, bring),
        Docker(store, environment, bring),
        Podman(store, environment, bring),
    )
