"""Starts in a cluster: what the pod is, and what becomes of what it prints."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from envbuild.errors import EnvbuildError, RemoteError, RepoError
from envbuild.image.reference import parse_reference
from envbuild.probe.pod import _placed, probe_in_cluster, probe_pod
from envbuild.progress import Reporter, Silent
from tests.support.reporters import Messages

_IMAGE = parse_reference("registry.example.org/team/demo@sha256:" + "0" * 64)
_LINES = (
    b"[I ServerApp] Jupyter Server is running",
    b'{"phase": "server", "after": 2.0}',
    b'{"phase": "kernel", "after": 3.0}',
    b'{"phase": "imports", "seconds": 0.5, "broken": ["pandas"], "after": 4.0}',
)
_RUNNING = {"phase": "Running"}
_KILLED = {
    "phase": "Failed",
    "containerStatuses": [{"state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}],
}
_DONE = {"phase": "Succeeded"}


class _Cluster:
    """Answers as a cluster in which pods have these states, one after the other, and print these lines."""

    def __init__(self, *states: dict[str, Any], lines: tuple[bytes, ...] = _LINES, pulled: str = "") -> None:
        self.states = list(states) or [_RUNNING, _DONE]
        self.lines = lines
        self.pulled = pulled
        self.pods: list[str] = []
        self.made = 0
        self.followed = 0
        self.breaking = False

    def create(self, wanted: dict[str, Any]) -> dict[str, Any]:
        self.pods.append(wanted["metadata"]["name"])
        self.made += 1
        return wanted

    def get(self, api_version: str, kind: str, name: str, namespace: str | None) -> dict[str, Any]:
        assert name in self.pods
        return {"status": self.states.pop(0) if len(self.states) > 1 else self.states[0]}

    def logs(self, pod: str, namespace: str | None, *, follow: bool) -> Iterator[bytes]:
        assert follow
        self.followed += 1
        if self.followed == 1 and self.breaking:
            yield from (*self.lines[:2], self.lines[2][:5])
        else:
            yield from self.lines

    def list(self, api_version: str, kind: str, namespace: str | None, *, fields: str) -> list[Any]:
        if not self.pulled:
            raise RemoteError("you may not list events", code="cluster-forbidden")
        return [{"message": self.pulled}]

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None, *, grace: int) -> bool:
        self.pods.remove(name)
        return True


def _probe(cluster: _Cluster, repeats: int = 1, reporter: Reporter | None = None) -> Any:
    return probe_in_cluster(
        _IMAGE,
        packages=("pandas",),
        cluster=cluster,  # type: ignore[arg-type]
        namespace="probes",
        node="node2",
        pull_secrets=(),
        reporter=reporter or Silent(),
        repeats=repeats,
    )


def test_what_the_pod_prints_is_the_start() -> None:
    """Each thing when it is seen; the pod is gone afterwards."""
    states = [{"phase": "Pending"}, _RUNNING, _DONE, _RUNNING, _DONE]
    cluster = _Cluster(*states, pulled='Successfully pulled image "x" in 3s')

    report = _probe(cluster, repeats=2)

    first = report.starts[0]
    assert (2.0, 3.0) == (first.server, first.kernel)
    assert (0.5, ("pandas",), True) == (first.imports, first.broken, first.pulled)
    assert (2, []) == (cluster.made, cluster.pods)


def test_a_stream_that_breaks_is_taken_up_again() -> None:
    """What was seen before keeps its time, and half a line is none."""
    cluster = _Cluster(_RUNNING, _DONE)
    cluster.breaking = True

    (start,) = _probe(cluster).starts

    assert 2 == cluster.followed
    assert 0.5 == start.imports
    assert (2.0, 3.0) == (start.server, start.kernel)


@pytest.mark.parametrize(
    ("started", "expected"),
    [("2026-03-01T10:00:20Z", [23.0, 26.0]), ("2026-03-01T10:05:00Z", [58.0, 61.0]), ("?", [58.0, 61.0])],
)
def test_lines_that_are_seen_late_count_from_the_container_s_start(
    started: str, expected: list[float]
) -> None:
    """They come at once when a stream broke; the pod knows what lies between them."""
    pod = {
        "metadata": {"creationTimestamp": "2026-03-01T10:00:00Z"},
        "status": {"containerStatuses": [{"state": {"terminated": {"startedAt": started}}}]},
    }
    events = [(60.0, {"phase": "server", "after": 2.0}), (61.0, {"phase": "kernel", "after": 5.0})]

    assert expected == [round(seconds, 3) for seconds, _ in _placed(events, pod)]


@pytest.mark.parametrize(
    ("message", "pulled"), [("Container image already present on machine", False), ("", None)]
)
def test_whether_it_was_pulled_is_what_the_node_says(message: str, pulled: bool | None) -> None:
    assert pulled is _probe(_Cluster(pulled=message)).starts[0].pulled


def _waiting(reason: str) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": "no such image"}}
    return {"phase": "Pending", "containerStatuses": [{"state": state}]}


@pytest.mark.parametrize(
    ("cluster", "error", "code", "text"),
    [
        (_Cluster(_waiting("ErrImagePull")), RemoteError, "probe-pod-failed", "no such image"),
        (_Cluster(lines=(b'{"error": "exit code 1"}',)), RepoError, "probe-failed", "exit code 1"),
        (_Cluster(_RUNNING, _KILLED, lines=()), RepoError, "probe-failed", "OOMKilled, exit code 137"),
        (_Cluster(lines=(b"\xff{", b"[1]", b'{"phase": 7}')), RepoError, "probe-failed", "Succeeded"),
        (_Cluster(lines=_LINES[:2]), RepoError, "probe-failed", "Succeeded"),
        (_Cluster(lines=(*_LINES[:3], b'{"phase": "imports"}')), RepoError, "probe-failed", "Succeeded"),
    ],
)
def test_what_does_not_start_is_an_error_and_leaves_no_pod(
    cluster: _Cluster, error: type[EnvbuildError], code: str, text: str
) -> None:
    with pytest.raises(error) as caught:
        _probe(cluster)

    assert code == caught.value.code
    assert text in caught.value.message
    assert [] == cluster.pods


def test_that_no_node_takes_the_pod_is_told_once() -> None:
    """A node that is not there, or full: it may take twenty minutes until that is an error."""
    nowhere = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    pending = {"phase": "Pending", "conditions": [nowhere]}
    messages = Messages()

    _probe(_Cluster(pending, pending, _RUNNING, _DONE), reporter=messages)

    assert ["no node takes the pod yet: 0/3 nodes are available"] == messages.warnings


def test_the_pod_is_restricted() -> None:
    spec = probe_pod(_IMAGE, ["numpy"], "node2", ["pull"])["spec"]
    (container,) = spec["containers"]

    assert not spec["automountServiceAccountToken"]
    assert {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}} == spec["securityContext"]
    assert {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
    } == container["securityContext"]
    assert "volumes" not in spec
    assert "command" not in container
    assert {"kubernetes.io/hostname": "node2"} == spec["nodeSelector"]
    assert [{"name": "pull"}] == spec["imagePullSecrets"]


def test_what_the_pod_runs_needs_nothing_but_python() -> None:
    """Given to a bare interpreter, it starts the server it is told to, and says how that ended."""
    *_, boot, request = probe_pod(_IMAGE, [])["spec"]["containers"][0]["args"]
    ast.parse(boot)
    asked = {**json.loads(request), "argv": [sys.executable, "-c", "raise SystemExit(3)"]}

    done = subprocess.run(
        [sys.executable, "-I", "-c", boot, json.dumps(asked)], capture_output=True, text=True, check=False
    )

    assert {"error": "the server ended with exit code 3"} == json.loads(done.stdout)
    assert 1 == done.returncode, done.stderr
