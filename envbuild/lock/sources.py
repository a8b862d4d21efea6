"""Where the artifacts of a lock are fetched from, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from envbuild.base.mirrors import find_mirrors, snapshot_mirrors
from envbuild.errors import RemoteError
from envbuild.fetch import Fetcher, Sources
from envbuild.lock.addresses import recall
from envbuild.lock.conda.channels import Channels, recall_channels
from envbuild.lock.locate import Locator
from envbuild.lock.model import Artifact, Lock
from envbuild.lock.uv_process import Uv
from envbuild.store import Store

__all__ = ["lock_addresses", "lock_fetcher", "lock_sources"]


def lock_sources(
    lock: Lock,
    *,
    store: Store,
    environment: Mapping[str, str],
    configured: Mapping[str, str],
    channel_mirrors: Mapping[str, str] | None = None,
) -> Sources:
    """The addresses of the sources ``lock`` names, best first.

    Mirrors drop superseded Debian packages; the snapshot archive at the base's date still has them.

    Parameters:
        environment: the user's variables; their index settings choose the package index.
        configured: addresses by source name from configuration.
        channel_mirrors: where conda channels are, as for :func:`envbuild.lock.make.make_lock`.

    Raises:
        UsageError: a configured address is not an http(s) URL.
    """
    moment = datetime.fromisoformat(lock.base.date)
    mirrors, past = find_mirrors(configured, at=moment), snapshot_mirrors(moment)
    names = sorted({package.artifact.source for target in lock.targets for package in target.conda})
    channels = Channels(channel_mirrors or {}, environment)
    return Sources(
        {
            "pypi": recall(store, environment),
            "debian": tuple(dict.fromkeys((*mirrors.debian, *past.debian))),
            "debian-security": tuple(dict.fromkeys((*mirrors.security, *past.security))),
            **{name: (channels.address(channel),) for name, channel in recall_channels(store, names).items()},
        }
    )


def lock_fetcher(
    lock: Lock,
    *,
    store: Store,
    environment: Mapping[str, str],
    configured: Mapping[str, str],
    channel_mirrors: Mapping[str, str] | None = None,
    offline: bool = False,
) -> Fetcher:
    """A fetcher (a context manager) for the artifacts of ``lock``; parameters as :func:`lock_sources`."""
    return Fetcher(
        store,
        lock_sources(
            lock,
            store=store,
            environment=environment,
            configured=configured,
            channel_mirrors=channel_mirrors,
        ),
        locate=Locator(lock, Uv(store, environment, offline)),
        offline=offline,
    )


def lock_addresses(
    lock: Lock,
    *,
    store: Store,
    environment: Mapping[str, str],
    configured: Mapping[str, str],
    offline: bool = False,
) -> Callable[[Artifact], str]:
    """What tells the URL of an artifact of ``lock``, maybe with credentials.

    Parameters as for :func:`lock_sources`. Nothing is fetched. The index is asked, once, when it is not clear
    from what is remembered of it where its files are.
    """
    sources = lock_sources(lock, store=store, environment=environment, configured=configured)
    locate = Locator(lock, Uv(store, environment, offline))

    def address(artifact: Artifact) -> str:
        known = sources.urls(artifact)
        # Of several addresses the index has to say which one it is: no file is tried for.
        found = known[0] if len(known) == 1 or (known and offline) else locate(artifact)
        if not found:
            raise RemoteError(
                f"{artifact.filename} is not in the index",
                code="not-in-index",
                remedy="set the index it is from (UV_INDEX), or lock again with `envbuild lock --upgrade`",
            )
        return found

    return address
