"""Where the artifacts of a lock are fetched from, on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from envbuild.base.mirrors import find_mirrors, snapshot_mirrors
from envbuild.fetch import Fetcher, Sources
from envbuild.lock.addresses import recall
from envbuild.lock.locate import Locator
from envbuild.lock.model import Lock
from envbuild.lock.uv_process import Uv
from envbuild.store import Store

__all__ = ["lock_fetcher", "lock_sources"]


def lock_sources(
    lock: Lock, *, store: Store, environment: Mapping[str, str], configured: Mapping[str, str]
) -> Sources:
    """The addresses of the sources ``lock`` names, best first.

    Mirrors drop superseded Debian packages; the snapshot archive at the base's date still has them.

    Parameters:
        environment: the user's variables; their index settings choose the package index.
        configured: addresses by source name from configuration.

    Raises:
        UsageError: a configured address is not an http(s) URL.
    """
    moment = datetime.fromisoformat(lock.base.date)
    mirrors, past = find_mirrors(configured, at=moment), snapshot_mirrors(moment)
    return Sources(
        {
            "pypi": recall(store, environment),
            "debian": tuple(dict.fromkeys((*mirrors.debian, *past.debian))),
            "debian-security": tuple(dict.fromkeys((*mirrors.security, *past.security))),
        }
    )


def lock_fetcher(
    lock: Lock,
    *,
    store: Store,
    environment: Mapping[str, str],
    configured: Mapping[str, str],
    offline: bool = False,
) -> Fetcher:
    """A fetcher (a context manager) for the artifacts of ``lock``; parameters as :func:`lock_sources`."""
    return Fetcher(
        store,
        lock_sources(lock, store=store, environment=environment, configured=configured),
        locate=Locator(lock, Uv(store, environment, offline)),
        offline=offline,
    )
