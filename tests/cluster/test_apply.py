"""Bringing objects to a wanted state: tried first, shown, then made; the same once more is nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from envbuild.cluster.api import Cluster
from envbuild.cluster.apply import Change, Prune, apply
from envbuild.errors import EnvbuildError, RemoteError
from tests.support.api_server import Answer, ApiServer, status

_OURS = {"app.kubernetes.io/managed-by": "envbuild", "fleet": "a"}


_LONG = " ".join(["value"] * 50)  # one line in a difference, too
_HIDDEN = (
    "-  gone: '*** (before)'",
    "+  new: '*** (after)'",
    "-  other: '*** (before)'",
    "+  other: '*** (after)'",
    "   same: '***'",
)


def _object(kind: str, name: str, **content: Any) -> dict[str, Any]:
    version = {"DaemonSet": "apps/v1"}.get(kind, "v1")
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": dict(_OURS)}, **content}


def _actions(changes: tuple[Change, ...]) -> list[tuple[str, str]]:
    return [(change.action, change.title) for change in changes]


def _made(server: ApiServer) -> list[tuple[str, str]]:
    return [(each.method, each.path.rsplit("/", 1)[1]) for each in server.asked if each.changes]


def test_creates_in_order_and_the_same_once_more_is_nothing(cluster: Cluster, server: ApiServer) -> None:
    objects = [_object("ConfigMap", "b", data={"x": "1"}), _object("DaemonSet", "a")]

    assert [("created", "ConfigMap envs/b"), ("created", "DaemonSet envs/a")] == _actions(
        apply(cluster, objects)
    )
    assert [("PATCH", "b"), ("PATCH", "a")] == _made(server)
    assert {"unchanged"} == {change.action for change in apply(cluster, objects)}
    assert 2 == len(_made(server))


def test_a_change_is_shown_before_it_is_made(cluster: Cluster, server: ApiServer) -> None:
    """Neither the server's defaults nor its bookkeeping are changes."""
    apply(cluster, [_object("ConfigMap", "b", data={"x": "1", "y": "1"})])
    shown: list[tuple[Change, ...]] = []

    def show(changes: tuple[Change, ...]) -> None:
        shown.append(changes)
        assert 1 == len(_made(server))

    wanted = [_object("ConfigMap", "b", data={"x": "1", "y": _LONG})]
    assert ["changed"] == [change.action for change in apply(cluster, wanted, before=show)]

    lines = shown[0][0].difference.splitlines()[2:]
    assert ["-  y: '1'", f"+  y: {_LONG}"] == [line for line in lines if line[0] in "+-"]


def test_a_dry_run_changes_nothing(cluster: Cluster, server: ApiServer) -> None:
    changes = apply(cluster, [_object("ConfigMap", "b")], dry_run=True)

    assert ([("created", "ConfigMap envs/b")], []) == (_actions(changes), _made(server))


def test_nothing_is_half_applied_when_one_is_refused(cluster: Cluster, server: ApiServer) -> None:
    path = "/apis/apps/v1/namespaces/envs/daemonsets/bad"
    server.always["PATCH", path] = status(422, "Invalid", "spec.template: Required value")

    with pytest.raises(RemoteError, match="not valid"):
        apply(cluster, [_object("ConfigMap", "good"), _object("DaemonSet", "bad")])

    assert [] == _made(server)


def test_a_failure_in_the_middle_says_what_was_changed(cluster: Cluster, server: ApiServer) -> None:
    def lose(changes: tuple[Change, ...]) -> None:
        server.always["PATCH", "/api/v1/namespaces/envs/configmaps/two"] = Answer(500)

    objects = [_object("ConfigMap", "one"), _object("ConfigMap", "two"), _object("ConfigMap", "three")]
    made: list[Change] = []
    with pytest.raises(RemoteError) as raised:
        apply(cluster, objects, before=lose, made=made.append)

    assert "changed before this: ConfigMap envs/one" == raised.value.detail
    assert ["ConfigMap envs/one"] == [change.title for change in made]
    server.always.clear()
    assert ["unchanged", "created", "created"] == [change.action for change in apply(cluster, objects)]


def test_fields_of_others_are_a_conflict(cluster: Cluster, server: ApiServer) -> None:
    cause = {"reason": "FieldManagerConflict", "field": ".spec.x", "message": 'conflict with "kubectl-edit"'}
    server.always["PATCH", "/api/v1/namespaces/envs/configmaps/b"] = status(
        409, "Conflict", "no", causes=[cause]
    )

    with pytest.raises(RemoteError) as raised:
        apply(cluster, [_object("ConfigMap", "b")])

    assert ("cluster-conflict", '.spec.x (conflict with "kubectl-edit")') == (
        raised.value.code,
        raised.value.detail,
    )


def test_what_is_in_a_namespace_to_come_is_not_tried(cluster: Cluster, server: ApiServer) -> None:
    """There is nothing to try it in."""
    inside = _object("ConfigMap", "b")
    inside["metadata"]["namespace"] = "new"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}}
    server.answers = [
        status(404, "NotFound", "no"),
        Answer(200, namespace),
        *[status(404, "NotFound", 'namespaces "new" not found', kind="namespaces")] * 2,
    ]

    assert [("created", "Namespace new"), ("created", "ConfigMap new/b")] == _actions(
        apply(cluster, [namespace, inside])
    )


def test_prunes_what_is_ours_and_not_wanted(cluster: Cluster, server: ApiServer) -> None:
    apply(cluster, [_object("ConfigMap", "kept"), _object("ConfigMap", "gone")])

    changes = apply(cluster, [_object("ConfigMap", "kept")], prune=Prune("fleet=a", (("v1", "ConfigMap"),)))

    assert [("unchanged", "ConfigMap envs/kept"), ("deleted", "ConfigMap envs/gone")] == _actions(changes)
    assert ("DELETE", "gone") == _made(server)[-1]
    selectors = [each.query.get("labelSelector") for each in server.asked]
    assert "app.kubernetes.io/managed-by=envbuild,fleet=a" in selectors


@pytest.mark.parametrize("objects", [[_object("Pod", "a")] * 2, [{"kind": "Pod"}]], ids=["twice", "nameless"])
def test_objects_that_are_none(cluster: Cluster, server: ApiServer, objects: list[Any]) -> None:
    with pytest.raises(EnvbuildError) as raised:
        apply(cluster, copy.deepcopy(objects))

    assert ("cluster-objects", []) == (raised.value.code, _made(server))


def test_secrets_are_not_shown(cluster: Cluster) -> None:
    apply(cluster, [_object("Secret", "s", data={"same": "aaaa", "other": "bbbb", "gone": "cccc"})])

    (change,) = apply(
        cluster, [_object("Secret", "s", data={"same": "aaaa", "other": "dddd", "new": "eeee"})]
    )

    assert "changed" == change.action
    assert not [value for value in ("aaaa", "bbbb", "cccc", "dddd", "eeee") if value in change.difference]
    assert sorted(_HIDDEN) == sorted(line for line in change.difference.splitlines() if "***" in line)
