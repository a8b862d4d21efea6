"""The Job of a build, as the dictionary that its YAML is.

The pod satisfies the restricted level of the Pod Security Standards: another user than root, no capabilities,
no way to get any, the runtime's system call filter, a read-only root; volumes are empty directories and what
was named. It has no token of the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from envbuild.jobs.request import Placement, Request
from envbuild.jobs.template import merge

__all__ = [
    "BUILD_LABEL",
    "CONTAINER",
    "FINAL_EXIT_CODES",
    "TRIES",
    "has_failure_policy",
    "make_job",
]

CONTAINER: Final = "build"
BUILD_LABEL: Final = "dev.envbuild/build"
# After these a second try would end the same way: everything but a remote that failed (4). 137 is what a
# process that the kernel killed for lack of memory leaves behind.
FINAL_EXIT_CODES: Final = (1, 2, 3, 70, 130, 137)
TRIES: Final = 3
_KEPT_SECONDS: Final = 24 * 3600
_USER: Final = 65532
_HOME: Final = "/var/lib/envbuild"
_AUTHORITIES: Final = "/etc/envbuild/authorities"
_AUTHORITIES_KEY: Final = "ca.crt"
_DOCKER: Final = "/var/run/secrets/envbuild"
_CPUS: Final = 2
_ANNOTATION_MOST: Final = 2000


def has_failure_policy(version: tuple[int, int]) -> bool:
    """Whether a cluster of this version can tell failures apart (``podFailurePolicy``, on since 1.26)."""
    return version >= (1, 26)


def make_job(request: Request, placement: Placement, version: tuple[int, int]) -> dict[str, Any]:
    """The Job for ``request``.

    Parameters:
        version: the API server's, major and minor: what it does not know is left out.

    Raises:
        UsageError: the pod template does not fit.
    """
    labels = {
        "app.kubernetes.io/name": "envbuild",
        "app.kubernetes.io/component": "build",
        "app.kubernetes.io/managed-by": "envbuild",
        BUILD_LABEL: request.build_id,
    }
    spec: dict[str, Any] = {
        "activeDeadlineSeconds": placement.timeout,
        "ttlSecondsAfterFinished": _KEPT_SECONDS,
        # Without a policy the cluster would repeat what the repository is to blame for: whoever waits tries
        # again.
        "backoffLimit": TRIES - 1 if has_failure_policy(version) else 0,
        "template": merge(
            {"metadata": {"labels": labels}, "spec": _pod(request, placement)}, placement.template
        ),
    }
    if has_failure_policy(version):
        lost = {"type": "DisruptionTarget", "status": "True"}
        final = {"containerName": CONTAINER, "operator": "In", "values": list(FINAL_EXIT_CODES)}
        spec["podFailurePolicy"] = {
            "rules": [
                {"action": "Count", "onPodConditions": [lost]},
                {"action": "FailJob", "onExitCodes": final},
            ]
        }
    annotations = {
        "dev.envbuild/source": request.title[:_ANNOTATION_MOST],
        "dev.envbuild/content": request.content,
        "dev.envbuild/image": " ".join(map(str, request.tags))[:_ANNOTATION_MOST],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": request.name,
            "namespace": placement.namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": spec,
    }


def _pod(request: Request, placement: Placement) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [
        {"name": "home", "emptyDir": {"sizeLimit": "20Gi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "20Gi"}},
    ]
    mounts: list[dict[str, Any]] = [
        {"name": "home", "mountPath": _HOME},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    variables = {
        "HOME": _HOME,
        "ENVBUILD_CACHE_DIR": f"{_HOME}/cache",
        "ENVBUILD_JOBS": str(_CPUS),
        "ENVBUILD_BUILD_ID": request.build_id,
        "ENVBUILD_JOB": request.name,
        **dict(request.variables),
    }
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": str(request.builder),
        "imagePullPolicy": "IfNotPresent",
        "command": ["envbuild"],
        "args": _arguments(request),
        "resources": {
            "requests": {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "2Gi"},
            "limits": {"cpu": str(_CPUS), "memory": "4Gi", "ephemeral-storage": "40Gi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
    if placement.config_map is not None:
        container["envFrom"] = [{"configMapRef": {"name": placement.config_map}}]
    if placement.ca_config_map is not None:
        variables["SSL_CERT_FILE"] = f"{_AUTHORITIES}/{_AUTHORITIES_KEY}"
        volumes.append({"name": "authorities", "configMap": {"name": placement.ca_config_map}})
        mounts.append({"name": "authorities", "mountPath": _AUTHORITIES, "readOnly": True})
    if placement.registry_secret is not None:
        variables["DOCKER_CONFIG"] = _DOCKER
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        volumes.append(
            {"name": "registry", "secret": {"secretName": placement.registry_secret, "items": items}}
        )
        mounts.append({"name": "registry", "mountPath": _DOCKER, "readOnly": True})
    if placement.metrics_push is not None:
        variables["ENVBUILD_METRICS_PUSH"] = placement.metrics_push
    container["env"] = [{"name": name, "value": value} for name, value in sorted(variables.items())]
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 10,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }


def _arguments(request: Request) -> Sequence[str]:
    tags = [part for tag in request.tags for part in ("-t", str(tag))]
    told = ("--json", "--log-format", "json", "--variables", "/dev/termination-log")
    return ["build", request.source, *request.arguments, *tags, "--push", *told]
