"""Jobs and pods as a cluster tells of them."""

from __future__ import annotations

from typing import Any

from envbuild.jobs.pod import BUILD_LABEL, CONTAINER
from envbuild.jobs.request import Request

__all__ = ["JOBS", "PODS", "job", "pod", "terminated", "waiting"]

JOBS = "/apis/batch/v1/namespaces/envs/jobs"
PODS = "/api/v1/namespaces/envs/pods"


def job(request: Request, *, condition: str = "", reason: str = "", uid: str = "job-1") -> dict[str, Any]:
    """The Job of ``request``, with a condition if it has ended."""
    conditions = [{"type": condition, "status": "True", "reason": reason}] if condition else []
    metadata = {
        "name": request.name,
        "namespace": "envs",
        "uid": uid,
        "labels": {BUILD_LABEL: request.build_id},
    }
    return {"metadata": metadata, "status": {"conditions": conditions}}


def pod(state: dict[str, Any], *, of: str = "job-1", name: str = "pod-1", **status: Any) -> dict[str, Any]:
    """A pod of the Job with the uid ``of``, whose container is in ``state``."""
    metadata = {
        "name": name,
        "namespace": "envs",
        "uid": name,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "ownerReferences": [{"uid": of}],
    }
    return {
        "metadata": metadata,
        "spec": {"nodeName": "node1", "containers": [{"name": CONTAINER, "image": "example.org/builder"}]},
        "status": {"containerStatuses": [{"name": CONTAINER, "state": state}], **status},
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    """The state of a container that has not begun."""
    return {"waiting": {"reason": reason, "message": message}}


def terminated(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    """The state of a container that has ended."""
    return {"terminated": {"exitCode": code, "message": message, "reason": reason}}
