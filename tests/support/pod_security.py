"""The ``restricted`` level of the Pod Security Standards (v1.34), as a function of a pod's spec.

The cluster of the tests is of version 1.20 and has no Pod Security Admission, which enforces these rules from
1.25 on. (It has PodSecurityPolicy, which is gone since, and would have to be allowed to every other pod.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["violations"]

_VOLUMES = frozenset(
    {
        *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"),
        *("persistentVolumeClaim", "projected", "secret"),
    }
)
_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
_SELINUX = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})


def violations(spec: dict[str, Any]) -> list[str]:
    """What of a pod's spec ``restricted`` does not allow: field and value, sorted; empty when it is fine."""
    return sorted({*_pod(spec), *_seccomp(spec), *(each for found in _containers(spec) for each in found)})


def _pod(spec: dict[str, Any]) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"{name}: true"
    for volume in spec.get("volumes") or ():
        for kind in volume.keys() - {"name"} - _VOLUMES:
            yield f"volume {volume['name']}: {kind}"
    context = spec.get("securityContext") or {}
    for sysctl in context.get("sysctls") or ():
        if sysctl["name"] not in _SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    yield from _of_every_level("pod", context)


def _containers(spec: dict[str, Any]) -> Iterator[list[str]]:
    whole = spec.get("securityContext") or {}
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(key) or ():
            yield list(_container(container, whole))


def _container(container: dict[str, Any], whole: dict[str, Any]) -> Iterator[str]:
    name, context = container["name"], container.get("securityContext") or {}
    yield from _of_every_level(name, context)
    if context.get("privileged"):
        yield f"{name}: privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation is not false"
    if context.get("runAsNonRoot", whole.get("runAsNonRoot")) is not True:
        yield f"{name}: runAsNonRoot is not true"
    capabilities = context.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or ()):
        yield f"{name}: capabilities are not all dropped"
    for added in sorted({*(capabilities.get("add") or ())} - {"NET_BIND_SERVICE"}):
        yield f"{name}: capability {added}"
    if context.get("procMount", "Default") != "Default":
        yield f"{name}: procMount"
    for port in container.get("ports") or ():
        if port.get("hostPort"):
            yield f"{name}: hostPort {port['hostPort']}"
    hooks = (container.get("lifecycle") or {}).values()
    probes = [container.get(kind) or {} for kind in ("livenessProbe", "readinessProbe", "startupProbe")]
    for action in (*hooks, *probes):
        if any((action.get(kind) or {}).get("host") for kind in ("httpGet", "tcpSocket")):
            yield f"{name}: a probe or hook names a host"


def _of_every_level(name: str, context: dict[str, Any]) -> Iterator[str]:
    """What pods and containers have both."""
    if context.get("runAsUser") == 0:
        yield f"{name}: runAsUser is 0"
    linux = context.get("seLinuxOptions") or {}
    if linux.get("type", "") not in _SELINUX or linux.get("user") or linux.get("role"):
        yield f"{name}: seLinuxOptions"
    if (context.get("appArmorProfile") or {}).get("type") == "Unconfined":
        yield f"{name}: appArmorProfile"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield f"{name}: hostProcess"


def _seccomp(spec: dict[str, Any]) -> Iterator[str]:
    """A container's own profile, else the pod's, is the runtime's or one of the node's."""
    of_pod = ((spec.get("securityContext") or {}).get("seccompProfile") or {}).get("type")
    if of_pod not in (None, "RuntimeDefault", "Localhost"):
        yield "pod: seccompProfile"
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(key) or ():
            own = ((container.get("securityContext") or {}).get("seccompProfile") or {}).get("type")
            if (own or of_pod) not in ("RuntimeDefault", "Localhost"):
                yield f"{container['name']}: seccompProfile"
