"""A real API server and real nodes: what is applied, what is refused, and what of it is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from envbuild.cluster.api import Cluster
from envbuild.cluster.apply import Change, Prune, apply
from envbuild.cluster.connection import connect
from envbuild.errors import RemoteError
from tests.support.kubernetes import KubernetesCluster
from tests.support.programs import output_of
from tests.support.small_images import push_small_image
from tests.support.waiting import wait_until

pytestmark = pytest.mark.kubernetes

_OURS = {"app.kubernetes.io/managed-by": "envbuild", "fleet": "tests"}


def _connected(kubeconfig: Path, namespace: str) -> Cluster:
    connected = connect(environment={"KUBECONFIG": str(kubeconfig)})
    return Cluster(connected.client, namespace)


@pytest.fixture
def cluster(kubernetes: KubernetesCluster, kubernetes_namespace: str) -> Cluster:
    """An administrator's connection, in a namespace for the test."""
    return _connected(kubernetes.kubeconfig, kubernetes_namespace)


def _settings(**data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "labels": dict(_OURS)},
        "data": data,
    }


def _sleepers(image: str, **pod: Any) -> dict[str, Any]:
    """A DaemonSet with much that the server fills in."""
    containers = [{"name": "main", "image": image, "ports": [{"containerPort": 80}]}]
    template = {"metadata": {"labels": {"app": "sleepers"}}, "spec": {"containers": containers, **pod}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "sleepers", "labels": dict(_OURS)},
        "spec": {"selector": {"matchLabels": {"app": "sleepers"}}, "template": template},
    }


def _actions(changes: tuple[Change, ...]) -> list[str]:
    return [f"{change.action} {change.kind}" for change in changes]


def test_applying_twice_is_applying_once(cluster: Cluster, kubernetes: KubernetesCluster) -> None:
    image = f"{kubernetes.registry}/pause:1"
    objects = [_settings(a="1"), _sleepers(image)]
    prune = Prune("fleet=tests", (("v1", "ConfigMap"), ("apps/v1", "DaemonSet")))

    assert ["created ConfigMap", "created DaemonSet"] == _actions(apply(cluster, objects, dry_run=True))
    assert ["created ConfigMap", "created DaemonSet"] == _actions(apply(cluster, objects, prune=prune))
    version = cluster.get("v1", "ConfigMap", "settings")["metadata"]["resourceVersion"]
    assert ["unchanged ConfigMap", "unchanged DaemonSet"] == _actions(apply(cluster, objects, prune=prune))
    assert version == cluster.get("v1", "ConfigMap", "settings")["metadata"]["resourceVersion"]

    changes = apply(cluster, [_settings(b="2"), _sleepers(image, hostNetwork=True)], prune=prune)

    assert ["changed ConfigMap", "changed DaemonSet"] == _actions(changes)
    assert [{"-  a: '1'", "+  b: '2'"}, {"+      hostNetwork: true", "+          hostPort: 80"}] == [
        {line for line in change.difference.splitlines()[2:] if line[0] in "+-"} for change in changes
    ]
    assert ["unchanged ConfigMap", "deleted DaemonSet"] == _actions(
        apply(cluster, [_settings(b="2")], prune=prune)
    )
    assert None is cluster.find("apps/v1", "DaemonSet", "sleepers")


def test_fields_that_somebody_else_has_set(
    cluster: Cluster, kubernetes: KubernetesCluster, kubernetes_namespace: str
) -> None:
    apply(cluster, [_settings(a="1")])
    patch = ("patch", "configmap", "settings", "-n", kubernetes_namespace, "-p")
    kubernetes.kubectl(*patch, '{"data": {"a": "theirs", "b": "theirs"}}')

    with pytest.raises(RemoteError) as raised:
        apply(cluster, [_settings(a="2")])

    assert "cluster-conflict" == raised.value.code
    assert ".data.a" in (raised.value.detail or "")
    assert "kubectl-patch" in (raised.value.detail or "")
    apply(cluster, [_settings(a="2")], force=True)
    assert {"a": "2", "b": "theirs"} == cluster.get("v1", "ConfigMap", "settings")["data"]


def test_nothing_is_made_when_one_object_is_refused(cluster: Cluster, kubernetes: KubernetesCluster) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    cluster.create({**quota, "spec": {"hard": {"count/daemonsets.apps": "0"}}})
    sleepers = _sleepers(f"{kubernetes.registry}/pause:1")

    def refused() -> bool:
        """Whether the API server has heard of the quota, which it counts after it was made."""
        try:
            cluster.apply(sleepers, "tests", dry_run=True)
        except RemoteError as error:
            return error.code == "cluster-refused"
        return False

    wait_until(refused)

    with pytest.raises(RemoteError) as raised:
        apply(cluster, [_settings(a="1"), sleepers])

    assert "cluster-refused" == raised.value.code
    assert "exceeded quota: none" in (raised.value.detail or "")
    assert None is cluster.find("v1", "ConfigMap", "settings")


def test_accounts_that_lack_a_rule_or_expired(
    kubernetes: KubernetesCluster, kubernetes_namespace: str
) -> None:
    account = _connected(kubernetes.account(kubernetes_namespace, "hub"), kubernetes_namespace)
    who = f"system:serviceaccount:{kubernetes_namespace}:hub"

    with pytest.raises(RemoteError) as raised:
        apply(account, [_settings(a="1")])

    assert (
        "cluster-forbidden",
        f"{who} may not get configmaps 'settings' in namespace {kubernetes_namespace}",
    ) == (
        raised.value.code,
        raised.value.message,
    )
    assert (raised.value.remedy or "").endswith(
        '{apiGroups: [""], resources: ["configmaps"], verbs: ["get"]}'
    )

    expired = _connected(kubernetes.kubeconfig_for("no-such-token"), kubernetes_namespace)
    with pytest.raises(RemoteError) as raised:
        expired.list("v1", "Pod")
    assert "cluster-unauthorized" == raised.value.code


def test_a_pod_finds_its_cluster(kubernetes: KubernetesCluster, kubernetes_namespace: str) -> None:
    """By its service account: in a mount namespace, a process is given what a pod's has."""
    if not kubernetes.nodes:
        pytest.skip("where another cluster's API server is, is not known")
    view = json.loads(kubernetes.kubeconfig.read_text())["clusters"][0]["cluster"]
    account = json.loads(kubernetes.account(kubernetes_namespace, "inside").read_text())
    place = kubernetes.directory / "service-account"
    place.mkdir()
    (place / "token").write_text(account["users"][0]["user"]["token"])
    (place / "namespace").write_text(kubernetes_namespace)
    (place / "ca.crt").write_bytes(Path(view["certificate-authority"]).read_bytes())
    inside = "/var/run/secrets/kubernetes.io/serviceaccount"
    server = urlsplit(view["server"])
    program = (
        "from envbuild.cluster.connection import connect\n"
        "from envbuild.errors import EnvbuildError\n"
        "try: connect().list('v1', 'Pod')\n"
        "except EnvbuildError as error: print(error.message)\n"
    )
    mounted = 'mount -t tmpfs t /run && mkdir -p "$0" && mount --bind "$1" "$0" && exec "$2" -c "$3"'
    environment = {
        "KUBERNETES_SERVICE_HOST": str(server.hostname),
        "KUBERNETES_SERVICE_PORT": str(server.port),
    }

    said = output_of(
        *("unshare", "--mount", "sh", "-c", mounted, inside, place, sys.executable, program),
        environment={**environment, "KUBECONFIG": "", "HOME": str(place)},
    )

    who = f"system:serviceaccount:{kubernetes_namespace}:inside"
    assert f"{who} may not list pods in namespace {kubernetes_namespace}\n" == said


def test_a_node_that_dies_is_seen_and_comes_back(cluster: Cluster, kubernetes: KubernetesCluster) -> None:
    """The tests' own nodes: each has a store of its own, and killing one kills its pods and nothing else."""
    if not kubernetes.nodes:
        pytest.skip("the nodes of this cluster are left alone")
    image = f"{kubernetes.registry}/sleepers:1"  # nobody else's
    push_small_image(image, ["sleep", "2147483647"])
    sleepers = _sleepers(image)
    sleepers["spec"]["template"]["spec"]["nodeSelector"] = {"pool": "pool1"}
    assert [] == [name for name, node in kubernetes.nodes.items() if image in node.images()]
    apply(cluster, [sleepers])

    def running() -> int:
        pods = cluster.list("v1", "Pod", labels="app=sleepers")
        return sum(pod["status"]["phase"] == "Running" for pod in pods)

    wait_until(lambda: running() == 2, seconds=600)

    assert ["node1", "node3"] == [name for name, node in kubernetes.nodes.items() if image in node.images()]
    assert [True, True] == [bool(kubernetes.nodes[name].processes()) for name in ("node1", "node3")]
    kubernetes.kill_node("node3")
    assert [True, False] == [bool(kubernetes.nodes[name].processes()) for name in ("node1", "node3")]
    kubernetes.wait_until_not_ready("node3")
    node = kubernetes.add_node("node3", pool="pool1")
    assert image in node.images()
