"""The manifests of templates/kubernetes on a real cluster: each account can do its work and nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from envbuild.cluster.api import Cluster
from envbuild.cluster.apply import apply
from envbuild.cluster.connection import connect
from envbuild.errors import RemoteError
from envbuild.image.reference import parse_reference
from envbuild.jobs.request import Placement, Request
from envbuild.jobs.submit import finish, submit
from envbuild.jobs.transcript import Transcript
from tests.support.kubernetes import KubernetesCluster
from tests.support.programs import Envbuild
from tests.support.reporters import Messages
from tests.support.small_images import push_small_image
from tests.support.waiting import wait_until

pytestmark = pytest.mark.kubernetes

_TEMPLATES = Path(__file__).parents[2] / "templates" / "kubernetes"
_KRUISE = "apps.kruise.io"

# What each account may do in its namespace, and everywhere.
_SUBMITTER = {
    *((verb, "batch", "jobs") for verb in ("create", "get", "delete")),
    ("list", "", "pods"),
    ("list", "", "events"),
    ("get", "", "pods/log"),
}
_STATUS = {
    ("get", "", "configmaps"),
    ("list", "", "pods"),
    ("list", "", "events"),
    ("list", _KRUISE, "imagepulljobs"),
}
_WARM = {
    *_STATUS,
    *(
        (verb, group, resource)
        for verb in ("get", "list", "create", "patch", "delete")
        for group, resource in (("apps", "daemonsets"), (_KRUISE, "imagepulljobs"))
    ),
    ("create", "", "configmaps"),
    ("patch", "", "configmaps"),
}
_NODES = {("list", "", "nodes")}
_CLASS = {(verb, "scheduling.k8s.io", "priorityclasses/envbuild-warm") for verb in ("get", "patch")}
_ACCOUNTS = {
    ("envbuild-builds", "envbuild-submitter"): (_SUBMITTER, set()),
    ("envbuild-warm", "envbuild-warm"): (_WARM, _NODES | _CLASS),
    ("envbuild-warm", "envbuild-status"): (_STATUS, _NODES),
}


def _connected(kubeconfig: Path, namespace: str) -> Cluster:
    connected = connect(environment={"KUBECONFIG": str(kubeconfig)})
    return Cluster(connected.client, namespace)


def _manifests() -> list[dict[str, Any]]:
    files = ("builds.yaml", "warm.yaml", "status.yaml")  # as the guide says
    return [each for name in files for each in yaml.safe_load_all((_TEMPLATES / name).read_text("utf-8"))]


@pytest.fixture(scope="module", autouse=True)
def installed(kubernetes: KubernetesCluster) -> Iterator[None]:
    """All manifests applied, as an administrator does."""
    cluster = _connected(kubernetes.kubeconfig, "default")
    created = apply(cluster, _manifests())
    for (namespace, name), (here, everywhere) in _ACCOUNTS.items():
        account = _connected(kubernetes.account(namespace, name), namespace)
        # The API server hears of rules after it has taken them.
        wait_until(lambda: here | everywhere <= _rules(account, namespace))  # noqa: B023
    yield
    for change in reversed(created):
        if change.action == "created" and change.kind != "ServiceAccount":
            cluster.delete(change.api_version, change.kind, change.name, change.namespace or None)


def _rules(cluster: Cluster, namespace: str) -> set[tuple[str, str, str]]:
    """What the account may do to resources in a namespace, without what everybody may."""
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "metadata": {}}
    status = cluster.create({**review, "spec": {"namespace": namespace}})["status"]
    assert not status["incomplete"]
    return {
        (verb, group, "/".join((resource, *rule.get("resourceNames", ()))))
        for rule in status["resourceRules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        if group != "authorization.k8s.io"
    }


def test_applying_the_manifests_again_changes_nothing(kubernetes: KubernetesCluster) -> None:
    changes = apply(_connected(kubernetes.kubeconfig, "default"), _manifests())

    assert [] == [(change.title, change.difference) for change in changes if change.action != "unchanged"]


@pytest.mark.parametrize(("namespace", "name"), _ACCOUNTS)
def test_accounts_may_do_what_they_need_and_nothing_else(
    kubernetes: KubernetesCluster, namespace: str, name: str
) -> None:
    here, everywhere = _ACCOUNTS[namespace, name]
    account = _connected(kubernetes.account(namespace, name), namespace)

    assert here | everywhere == _rules(account, namespace)
    assert everywhere == _rules(account, "default")


def test_a_submitter_has_builds_run_and_reads_no_secrets(kubernetes: KubernetesCluster) -> None:
    """With envbuild's own Job, in a namespace with its quota; what builds in it only says that it has."""
    namespace = "envbuild-builds"
    account = _connected(kubernetes.account(namespace, "envbuild-submitter"), namespace)
    pushed = f"sha256:{'d' * 64}"
    said = f"#!/bin/sh\necho digest={pushed} >/dev/termination-log\nexec touch /tmp/x\n".encode()
    builder = f"{kubernetes.registry}/roles-builder"
    digest = push_small_image(f"{builder}:1", ["sh"], files={"bin/envbuild": said})
    commit = secrets.token_hex(20)
    request = Request(
        source=f"https://example.org/team/rivers#{commit}",
        title="https://example.org/team/rivers",
        content=commit,
        arguments=(),
        variables=(),
        tags=(parse_reference("registry.example.org/team/rivers:1"),),
        builder=parse_reference(f"{builder}@{digest}"),
    )
    placement, reporter = Placement(namespace), Messages()

    submission = submit(account, request, placement, still_there=lambda digest: False)
    built = finish(account, request, placement, submission, Transcript(reporter), reporter)

    assert ("created", pushed, []) == (submission.how, built.digest, reporter.warnings)
    assert "reused" == submit(account, request, placement, still_there=lambda digest: digest == pushed).how
    (ran,) = account.list("v1", "Pod", labels=f"job-name={request.name}")
    assert [] == [volume for volume in ran["spec"]["volumes"] if "emptyDir" not in volume]  # no token
    assert account.delete("batch/v1", "Job", request.name)
    for forbidden in (
        lambda: account.list("v1", "Secret"),
        lambda: account.list("batch/v1", "Job"),
        lambda: account.get("batch/v1", "Job", "build", "default"),
    ):
        with pytest.raises(RemoteError) as raised:
            forbidden()
        assert "cluster-forbidden" == raised.value.code


def test_nodes_are_warmed_by_one_account_and_seen_by_another(
    kubernetes: KubernetesCluster, envbuild: Envbuild, tmp_path: Path
) -> None:
    image = f"{kubernetes.registry}/roles"
    digest = push_small_image(f"{image}:1", ["sleep", "1"])
    (tmp_path / "fleet.toml").write_text(
        '[fleet]\nname = "roles"\nnamespace = "envbuild-warm"\n'
        '[pools.one]\nselector = { pool = "pool1" }\n'
        f'[environments.sleep]\nimage = "{image}@{digest}"\n'
    )
    warm, status, submitter = (
        Envbuild(envbuild.cache, environment={"KUBECONFIG": str(kubernetes.account(namespace, name))})
        for namespace, name in (
            ("envbuild-warm", "envbuild-warm"),
            ("envbuild-warm", "envbuild-status"),
            ("envbuild-builds", "envbuild-submitter"),
        )
    )
    fleet = tmp_path / "fleet.toml"
    apply_fleet = ("warm", "apply", fleet, "--plain-http", kubernetes.registry)

    done = warm.run(*apply_fleet, "--wait", "--timeout", "10")
    assert 0 == done.returncode, done.stderr
    seen = status.run("warm", "status", fleet)
    assert 0 == seen.returncode, seen.stderr
    for account, command in ((status, apply_fleet), (submitter, ("warm", "status", fleet))):
        refused = account.run(*command)
        assert 4 == refused.returncode
        assert "have this rule added" in refused.stderr
