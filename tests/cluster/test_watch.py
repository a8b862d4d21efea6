"""Watching objects, through everything that ends a watch."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import pytest

from envbuild.cluster.api import Cluster
from envbuild.cluster.watch import watch
from envbuild.errors import RemoteError
from tests.support.api_server import Answer, ApiServer, status


def _pod(name: str, version: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "uid": name, "resourceVersion": str(version)},
    }


def _list(version: int, *pods: dict[str, Any]) -> Answer:
    return Answer(200, {"metadata": {"resourceVersion": str(version)}, "items": list(pods)})


def _events(*events: tuple[str, dict[str, Any]], more: bytes = b"") -> Answer:
    lines = [json.dumps({"type": kind, "object": item}).encode() + b"\n" for kind, item in events]
    return Answer(200, b"".join(lines) + more)


def _seen(cluster: Cluster, count: int) -> list[tuple[str, str]]:
    return [(event, item["metadata"]["name"]) for event, item in islice(watch(cluster, "v1", "Pod"), count)]


def test_goes_on_where_it_was(cluster: Cluster, server: ApiServer) -> None:
    """A watch that ends in peace, as all do after a while, is begun anew from the last event."""
    server.answers = [
        _list(5, _pod("a", 3)),
        _events(("MODIFIED", _pod("a", 6)), ("BOOKMARK", _pod("", 9))),
        _events(("DELETED", _pod("a", 10))),
    ]

    assert [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")] == _seen(cluster, 3)
    assert [None, "5", "9"] == [each.query.get("resourceVersion") for each in server.asked]


@pytest.mark.parametrize(
    "ends",
    [
        _events(("ERROR", {"code": 410, "reason": "Expired"})),
        status(410, "Expired", "too old resource version"),
        _events(more=b'{"type": "ADDED", "obj'),
        Answer(200, b"x" * 99, cut=0),
    ],
    ids=["event-410", "answer-410", "half-a-line", "connection"],
)
def test_what_was_missed_is_found_by_comparing(cluster: Cluster, server: ApiServer, ends: Answer) -> None:
    server.answers = [
        _list(5, _pod("a", 1), _pod("b", 2), _pod("c", 3)),
        ends,
        _list(20, _pod("a", 1), _pod("b", 12), _pod("d", 13)),
    ]

    added = [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]
    assert [*added, ("DELETED", "c"), ("MODIFIED", "b"), ("ADDED", "d")] == _seen(cluster, 6)


def test_refusals_end_it(cluster: Cluster, server: ApiServer) -> None:
    server.answers = [
        _list(5),
        status(403, "Forbidden", 'pods is forbidden: User "hub" cannot watch resource'),
    ]

    with pytest.raises(RemoteError, match="hub may not watch pods in namespace envs"):
        _seen(cluster, 1)


def test_ends_in_time(cluster: Cluster, server: ApiServer) -> None:
    clock = iter([0.0, 1.0, 4.0, 11.0])
    server.answers = [_list(5), _events(), _events()]

    assert [] == list(watch(cluster, "v1", "Pod", seconds=10, clock=lambda: next(clock)))
    assert ["9", "6"] == [each.query["timeoutSeconds"] for each in server.asked[1:]]
