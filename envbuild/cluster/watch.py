"""A list of objects and everything that happens to it afterwards, through time-outs and restarts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

from envbuild.cluster.api import Cluster, Object
from envbuild.cluster.failures import Action, failure
from envbuild.errors import RemoteError

__all__ = ["watch"]

_TURN = 240  # seconds, after which a watch is begun anew: proxies end connections that are older


def watch(
    cluster: Cluster,
    api_version: str,
    kind: str,
    namespace: str | None = None,
    *,
    everywhere: bool = False,
    labels: str = "",
    fields: str = "",
    seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[tuple[str, Object]]:
    """Yield ``(event, object)``: ``ADDED`` for what is there, then ``ADDED``, ``MODIFIED`` and ``DELETED``.

    What happened while nobody could watch (a connection broke, the server forgot that far back) is found out
    by comparing lists, so nothing is missed but what came and went in between. It ends after ``seconds``;
    None: never. Selectors are those of :meth:`Cluster.list`.

    Raises:
        RemoteError: the cluster cannot be reached for longer than requests are tried, or refuses.
    """
    deadline = None if seconds is None else clock() + seconds
    resource = cluster.resource(api_version, kind)
    where = None if everywhere or not resource.namespaced else namespace or cluster.namespace
    action = Action("watch", resource.group, resource.plural, where)
    known: dict[str, Object] = {}
    since = ""
    while True:
        if not since:
            found, since = cluster.list_at(
                api_version, kind, namespace, everywhere=everywhere, labels=labels, fields=fields
            )
            yield from _compared(known, found)
        left = _TURN if deadline is None else min(deadline - clock(), _TURN)
        if left <= 0:
            return
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(max(int(left), 1)),
            "labelSelector": labels,
            "fieldSelector": fields,
        }
        try:
            for line in cluster.lines(resource.path(where), action, query, seconds=left + 30):
                event, item = _event(line, action)
                since = item["metadata"]["resourceVersion"]
                if event == "BOOKMARK":
                    continue
                uid = item["metadata"]["uid"]
                if event == "DELETED":
                    known.pop(uid, None)
                else:
                    known[uid] = item
                yield event, item
        except _Gone:
            since = ""
        except RemoteError as error:
            if error.code not in ("cluster-unreachable", "cluster-expired"):
                raise
            since = ""  # the list is tried often enough


class _Gone(Exception):
    """A watch ended in the middle of a line."""


def _event(line: bytes, action: Action) -> tuple[str, Object]:
    try:
        document = json.loads(line)
        event, item = document["type"], document["object"]
    except (ValueError, KeyError, TypeError) as error:
        raise _Gone from error
    if event == "ERROR":
        raise failure(int(item.get("code") or 500), item, action)
    return event, item


def _compared(known: dict[str, Object], found: list[Object]) -> Iterator[tuple[str, Object]]:
    """What changed from ``known`` (by uid) to ``found``; ``known`` is brought up to date."""
    now = {item["metadata"]["uid"]: item for item in found}
    for uid in [uid for uid in known if uid not in now]:
        yield "DELETED", known.pop(uid)
    for uid, item in now.items():
        before = known.get(uid)
        known[uid] = item
        if before is None:
            yield "ADDED", item
        elif before["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
            yield "MODIFIED", item
