"""Starts in a cluster: a pod each, seconds from its creation until server and kernel answer in it.

So they have in them what users wait for: the scheduler, pulling and unpacking if the node has not the image,
and the start. The pod needs no rights and no network; what it prints is not trusted.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from envbuild.conformance import program as tools
from envbuild.errors import RemoteError
from envbuild.image.reference import Reference
from envbuild.probe import program
from envbuild.probe.local import START_SECONDS, failed, start_of
from envbuild.probe.model import Report, Start
from envbuild.progress import Reporter
from envbuild.source.text import clean
from envbuild.up import jupyterlab

if TYPE_CHECKING:
    from envbuild.cluster.api import Cluster

__all__ = ["probe_in_cluster", "probe_pod"]

_PORT: Final = 8888
_COLD_SECONDS: Final = 1200.0
_POLL_SECONDS: Final = 0.2
_MOST_LINES: Final = 10_000
_LOG_LINES: Final = 20
_HOPELESS: Final = frozenset(
    {
        *("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"),
        *("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff"),
    }
)
# The second program imports the first by its name.
_BOOT: Final = """\
import sys, types
for name in ("envbuild", "envbuild.conformance", "envbuild.conformance.program"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
exec({tools!r}, sys.modules["envbuild.conformance.program"].__dict__)
exec({program!r})
"""


def probe_in_cluster(
    reference: Reference,
    *,
    packages: Sequence[str],
    cluster: Cluster,
    namespace: str | None,
    node: str | None,
    pull_secrets: Sequence[str],
    reporter: Reporter,
    repeats: int,
) -> Report:
    """Start ``reference`` so many times, one pod after the other, and measure; the pods are removed.

    Parameters:
        packages: normalized names of distributions, whose modules are imported.
        namespace: where; None: the context's.
        node: the name of the node to start on; None: where the scheduler puts it.

    Raises:
        RemoteError: the cluster refuses, or the pod does not start (``probe-pod-failed``).
        RepoError: the server or its kernel does not start (``probe-failed``).
    """
    starts: list[Start] = []
    with reporter.stage("probe", unit="starts") as stage:
        stage.add_total(repeats)
        for _ in range(repeats):
            pod = probe_pod(reference, packages, node, pull_secrets, namespace)
            starts.append(_start(cluster, pod, reporter))
            stage.advance(1)
    return Report(tuple(starts))


def probe_pod(
    reference: Reference,
    packages: Sequence[str],
    node: str | None = None,
    pull_secrets: Sequence[str] = (),
    namespace: str | None = None,
) -> dict[str, Any]:
    """The pod: restricted (Pod Security Standards), no token, the image's own user and entry point."""
    request = {
        "argv": jupyterlab("127.0.0.1", _PORT, ()),
        "port": _PORT,
        "token": secrets.token_hex(24),
        "packages": list(packages),
        "seconds": START_SECONDS,
    }
    boot = _BOOT.format(tools=_text(tools.__file__), program=_text(program.__file__))
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": int(_COLD_SECONDS),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "imagePullSecrets": [{"name": name} for name in pull_secrets],
        "containers": [
            {
                "name": "probe",
                "image": str(reference),
                "imagePullPolicy": "IfNotPresent",
                "args": ["python3", "-c", boot, json.dumps(request)],
                "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "privileged": False,
                },
            }
        ],
    }
    if node is not None:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    metadata = {
        "name": f"envbuild-probe-{secrets.token_hex(5)}",
        "labels": {"app.kubernetes.io/name": "envbuild", "app.kubernetes.io/component": "probe"},
    }
    if namespace is not None:
        metadata["namespace"] = namespace
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _start(cluster: Cluster, pod: Mapping[str, Any], reporter: Reporter) -> Start:
    name, namespace = pod["metadata"]["name"], pod["metadata"].get("namespace")
    began = time.monotonic()
    cluster.create(dict(pod))
    try:
        _wait_until_running(cluster, name, namespace, began, reporter)
        start = _followed(cluster, name, namespace, began)
        return replace(start, pulled=_pulled(cluster, name, namespace))
    finally:
        cluster.delete("v1", "Pod", name, namespace, grace=0)


def _wait_until_running(
    cluster: Cluster, name: str, namespace: str | None, began: float, reporter: Reporter
) -> None:
    told = ""
    while True:
        status = cluster.get("v1", "Pod", name, namespace).get("status") or {}
        trouble, unscheduled = _trouble(status), _unscheduled(status)
        if unscheduled not in ("", told):
            # A cluster that grows may have room later: it is waited for, but not in silence.
            reporter.warn(f"no node takes the pod yet{unscheduled}")
            told = unscheduled
        if trouble is None and status.get("phase") in ("Running", "Succeeded", "Failed"):
            return
        if trouble is None and time.monotonic() - began > _COLD_SECONDS:
            trouble = f"it is not running after 20 minutes{unscheduled}"
        if trouble is not None:
            raise RemoteError(
                f"the pod does not start: {clean(trouble)}",
                code="probe-pod-failed",
                remedy="check the image's name and the pull secrets; `kubectl get events` tells more",
            )
        time.sleep(_POLL_SECONDS)


def _trouble(status: Mapping[str, Any]) -> str | None:
    """Why the container will not start, None while it may."""
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _HOPELESS:
            return f"{waiting['reason']}: {waiting.get('message', '')}"
    return None


def _unscheduled(status: Mapping[str, Any]) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f": {clean(str(condition.get('message', '')))}"
    return ""


def _followed(cluster: Cluster, name: str, namespace: str | None, began: float) -> Start:
    """What the program in the pod tells, each thing when it is seen here."""
    events: dict[str, tuple[float, dict[str, Any]]] = {}
    said: str | None = None
    ended = False
    while True:
        log: deque[str] = deque(maxlen=_LOG_LINES)
        # From the beginning each time: the last line of a stream that broke may have been half a line.
        for line in islice(cluster.logs(name, namespace, follow=True), _MOST_LINES):
            event = _event(line)
            if event is None:
                log.append(clean(line.decode("utf-8", "replace")))
            elif "error" in event:
                said = str(event["error"])
            else:
                events.setdefault(str(event["phase"]), (time.monotonic() - began, event))
        if ended:
            break
        # Streams break when a busy node or API server lets them go, also just before the end.
        pod = cluster.get("v1", "Pod", name, namespace)
        status = pod.get("status") or {}
        ended = status.get("phase") != "Running" or time.monotonic() - began > _COLD_SECONDS
        if not ended:
            time.sleep(_POLL_SECONDS)
    try:
        return start_of(_placed(list(events.values()), pod))
    except (KeyError, TypeError, ValueError) as error:
        raise failed(said or _ending(status), "\n".join(log) or None) from error


def _placed(
    events: Sequence[tuple[float, dict[str, Any]]], pod: Mapping[str, Any]
) -> list[tuple[float, dict[str, Any]]]:
    """``events`` with the seconds since the pod's creation, whenever they were seen.

    What lies between them is known from the pod; when its program began, from the line that came soonest, and
    to a second from what the cluster says about the container.

    Raises:
        KeyError, TypeError, ValueError: one is not as it should be.
    """
    begins = [seen - float(event["after"]) for seen, event in events]
    begins += [seconds + 1.0 for seconds in _container_start(pod)]
    return [(max(min(begins), 0.0) + float(event["after"]), event) for _, event in events]


def _container_start(pod: Mapping[str, Any]) -> list[float]:
    """Seconds from the pod's creation to the start of its container; empty when that is not said."""
    try:
        ((_, state),) = pod["status"]["containerStatuses"][0]["state"].items()
        started = datetime.fromisoformat(state["startedAt"])
        return [(started - datetime.fromisoformat(pod["metadata"]["creationTimestamp"])).total_seconds()]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return []


def _ending(status: Mapping[str, Any]) -> str:
    """How the container ended."""
    for container in status.get("containerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended:
            return f"its container ended: {ended.get('reason')}, exit code {ended.get('exitCode')}"
    return f"its pod ended: {status.get('reason') or status.get('phase')}"


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and ("phase" in event or "error" in event) else None


def _pulled(cluster: Cluster, name: str, namespace: str | None) -> bool | None:
    """Whether the node had to pull the image; None when the cluster does not say."""
    try:
        events = cluster.list("v1", "Event", namespace, fields=f"involvedObject.name={name},reason=Pulled")
    except RemoteError:
        return None
    messages = [str(event.get("message", "")) for event in events]
    return not any("already present" in message for message in messages) if messages else None


def _text(path: str) -> str:
    return Path(path).read_text("utf-8")
