"""Requests to an API server, and what becomes of its failures."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envbuild.cluster.api import Cluster
from envbuild.cluster.connection import connect
from envbuild.errors import RemoteError
from tests.support.api_server import Answer, ApiServer, Asked, status
from tests.support.servers import free_port
from tests.support.strangers import documents

_JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "build"}}
_NO_RULE = 'jobs.batch is forbidden: User "system:serviceaccount:envs:hub" cannot create resource "jobs"'


def _methods(asked: list[Asked]) -> list[str]:
    return [each.method for each in asked]


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (status(401, "Unauthorized", "Unauthorized"), "cluster-unauthorized", "credentials"),
        (
            status(403, "Forbidden", 'pods "x" is forbidden: exceeded quota: small'),
            "cluster-refused",
            "admission",
        ),
        (
            status(404, "NotFound", 'namespaces "envs" not found', kind="namespaces", name="envs"),
            "cluster-namespace-missing",
            "no namespace envs",
        ),
        (status(404, "NotFound", "no"), "cluster-not-found", "no jobs.batch 'build' in namespace envs"),
        (status(409, "AlreadyExists", "there"), "cluster-exists", "exists already"),
        (status(409, "Conflict", "the object has been modified"), "cluster-conflict", "somebody else"),
        (status(422, "Invalid", "spec.x: Required value"), "cluster-invalid", "not valid"),
        (Answer(200, b"<html>log in"), "cluster-not-kubernetes", "not that of a Kubernetes API server"),
        (Answer(302, b"<html>log in"), "cluster-not-kubernetes", "HTTP 302"),
        (Answer(403, b"<html>blocked"), "cluster-not-kubernetes", "HTTP 403"),
        (Answer(500, b"<html>broken"), "cluster-failed", "HTTP 500"),
    ],
)
def test_failures(cluster: Cluster, server: ApiServer, answer: Answer, code: str, said: str) -> None:
    server.answers = [answer] * 5  # some are worth another try

    with pytest.raises(RemoteError, match=said) as raised:
        cluster.create(_JOB)

    assert (code, {"POST"}) == (raised.value.code, {*_methods(server.asked)})
    assert raised.value.remedy
    assert "s3cr3t" not in str(raised.value.to_json())


def test_what_is_forbidden_names_the_rule_that_is_missing(cluster: Cluster, server: ApiServer) -> None:
    server.answers = [status(403, "Forbidden", _NO_RULE)]

    with pytest.raises(RemoteError) as raised:
        cluster.create(_JOB)

    assert "cluster-forbidden" == raised.value.code
    assert (
        "system:serviceaccount:envs:hub may not create jobs.batch 'build' in namespace envs"
        == raised.value.message
    )
    assert (
        "have this rule added to a Role bound to it in namespace envs: "
        '{apiGroups: ["batch"], resources: ["jobs"], verbs: ["create"]}' == raised.value.remedy
    )


def test_the_rule_for_an_object_of_the_whole_cluster_is_for_this_one(
    cluster: Cluster, server: ApiServer
) -> None:
    server.answers = [status(403, "Forbidden", 'User "ci" cannot get resource "namespaces"')]

    with pytest.raises(RemoteError) as raised:
        cluster.get("v1", "Namespace", "n1")

    assert raised.value.remedy == (
        "have this rule added to a ClusterRole bound to it: "
        '{apiGroups: [""], resources: ["namespaces"], resourceNames: ["n1"], verbs: ["get"]}'
    )


@pytest.mark.parametrize(
    ("method", "answer", "tries"),
    [
        ("get", Answer(503), 5),
        ("get", Answer(500), 5),
        ("get", Answer(429), 5),
        ("get", Answer(403), 1),
        ("get", Answer(200, {"metadata": {}}, cut=3), 5),
        ("create", Answer(503), 1),
        ("create", Answer(429), 5),
        ("create", status(409, "Conflict", "resourcequotas: the object has been modified"), 5),
        ("create", status(409, "AlreadyExists", "it exists"), 1),
        ("create", Answer(200, {"metadata": {}}, cut=3), 1),
    ],
)
def test_is_tried_again_only_where_that_is_safe_and_may_help(
    cluster: Cluster, server: ApiServer, waited: list[float], method: str, answer: Answer, tries: int
) -> None:
    """A create that may have been carried out is not sent again."""
    server.answers = [answer] * 9

    with pytest.raises(RemoteError):
        cluster.create(_JOB) if method == "create" else cluster.get("batch/v1", "Job", "build")

    assert (tries, [0.5, 1.0, 2.0, 4.0][: tries - 1]) == (len(server.asked), waited)


def test_waits_as_long_as_the_server_asks_for(
    cluster: Cluster, server: ApiServer, waited: list[float]
) -> None:
    server.answers = [Answer(429, headers={"Retry-After": "7"}), Answer(201, _JOB)]

    assert (_JOB, [7.0]) == (cluster.create(_JOB), waited)


def test_does_not_wait_for_ever(cluster: Cluster, server: ApiServer, waited: list[float]) -> None:
    server.answers = [Answer(429, headers={"Retry-After": "3600"})]

    with pytest.raises(RemoteError) as raised:
        cluster.create(_JOB)

    assert ("cluster-busy", []) == (raised.value.code, waited)


def test_unreachable(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "kubeconfig").write_text(
        f"clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\n"
        "contexts: [{name: here, context: {cluster: c}}]\ncurrent-context: here\n"
    )
    waited: list[float] = []
    connected = connect(environment={"KUBECONFIG": str(tmp_path / "kubeconfig")})
    cluster = Cluster(connected.client, "envs", wait=waited.append)

    with pytest.raises(RemoteError, match=f"127.0.0.1:{port} cannot be reached") as raised:
        cluster.create(_JOB)

    assert ("cluster-unreachable", 4) == (raised.value.code, len(waited))


def test_credentials_are_renewed_once(cluster: Cluster, server: ApiServer) -> None:
    """Tokens of plugins and service accounts live for minutes, builds for longer."""
    renewed = []

    def renew() -> object:
        renewed.append(1)
        return cluster.client

    again = Cluster(cluster.client, "envs", renew)  # type: ignore[arg-type]
    server.answers = [Answer(401), Answer(201, _JOB), Answer(401), Answer(401)]

    assert _JOB == again.create(_JOB)
    with pytest.raises(RemoteError) as raised:
        again.create(_JOB)
    assert ("cluster-unauthorized", 2) == (raised.value.code, len(renewed))


def test_the_token_is_sent(cluster: Cluster, server: ApiServer) -> None:
    cluster.create(_JOB)

    assert (
        "Bearer s3cr3t-token"
        == {key.lower(): value for key, value in server.asked[0].headers.items()}["authorization"]
    )


def test_lists_have_pages_and_whole_objects(cluster: Cluster, server: ApiServer) -> None:
    """Servers leave out apiVersion and kind of items."""
    server.answers = [
        Answer(200, {"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "b"}}]}),
        Answer(200, {"metadata": {}, "items": [{"metadata": {"name": "a"}}]}),
    ]

    found = cluster.list("v1", "Pod", labels="app=x")

    assert [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b"}},
    ] == found
    assert ["app=x", "app=x"] == [each.query["labelSelector"] for each in server.asked]
    assert "more" == server.asked[1].query["continue"]


def test_a_list_that_expires_is_begun_anew(cluster: Cluster, server: ApiServer) -> None:
    a, b = ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}} for name in "ab")
    server.answers = [
        Answer(200, {"metadata": {"continue": "more"}, "items": [a]}),
        status(410, "Expired", "the continue parameter is too old"),
        Answer(200, {"metadata": {}, "items": [a, b]}),
    ]

    assert [a, b] == cluster.list("v1", "Pod")


def test_unknown_kinds(cluster: Cluster) -> None:
    with pytest.raises(RemoteError, match="no ImagePullJob in apps") as raised:
        cluster.list("apps.kruise.io/v1alpha1", "ImagePullJob")

    assert "cluster-kind-unknown" == raised.value.code


def test_find_and_delete_take_absence_for_an_answer(cluster: Cluster) -> None:
    assert None is cluster.find("v1", "Pod", "gone")
    assert not cluster.delete("v1", "Pod", "gone")


def test_logs(cluster: Cluster, server: ApiServer) -> None:
    server.answers = [Answer(200, b"one\ntwo\n\nlast")]

    lines = list(cluster.logs("build", container="main", follow=True))

    assert [b"one", b"two", b"", b"last"] == lines
    assert ("/api/v1/namespaces/envs/pods/build/log", {"container": "main", "follow": "true"}) == (
        server.asked[0].path,
        server.asked[0].query,
    )


@pytest.mark.parametrize(
    ("said", "version"), [({"major": "1", "minor": "20+"}, (1, 20)), ({"gitVersion": "v1.30.1"}, (0, 0))]
)
def test_version(cluster: Cluster, server: ApiServer, said: dict[str, str], version: tuple[int, int]) -> None:
    server.answers = [Answer(200, said)]

    assert version == cluster.version()


_WORDS = ("items", "metadata", "name", "continue", "message", "reason", "details", "kind", "causes", "status")


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([200, 201, 403, 404, 409, 422, 429, 503]),
    documents(*_WORDS)
    | st.fixed_dictionaries({"items": documents("metadata", "name")})
    | st.fixed_dictionaries({"items": st.just([]), "metadata": documents("continue")})
    | st.fixed_dictionaries({"details": documents("causes", "kind"), "reason": st.just("Conflict")}),
)
def test_any_answer_is_objects_or_an_error(
    cluster: Cluster, server: ApiServer, code: int, body: object
) -> None:
    """What is in front of an API server may answer whatever it likes."""
    for ask in (lambda: cluster.list("v1", "Pod"), lambda: [cluster.get("v1", "Pod", "a")]):
        server.answers = [Answer(code, body)] * 5 + [Answer(200, {"items": []})]
        try:
            found = ask()
        except RemoteError as error:
            assert error.remedy
        else:
            assert all(isinstance(one["metadata"]["name"], str) for one in found)


def test_what_lists_kinds_may_be_something_else(cluster: Cluster, server: ApiServer) -> None:
    server.answers = [Answer(200, {"resources": [{"name": "widgets"}]}), Answer(200, b"[" * 20_000)]

    for _ in range(2):
        with pytest.raises(RemoteError) as raised:
            cluster.list("example.org/v1", "Widget")
        assert "cluster-not-kubernetes" == raised.value.code
