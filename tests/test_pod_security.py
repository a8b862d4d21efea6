"""The checker of the restricted level can say no: every rule, by a pod that breaks it alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.support.pod_security import violations

_POD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "c",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
    "volumes": [{"name": "v", "emptyDir": {}}],
}


def test_a_pod_that_is_restricted() -> None:
    assert [] == violations(_POD)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("hostNetwork", True, "hostNetwork: true"),
        ("hostPID", True, "hostPID: true"),
        ("volumes", [{"name": "v", "hostPath": {"path": "/"}}], "volume v: hostPath"),
        ("securityContext.sysctls", [{"name": "kernel.msgmax"}], "sysctl kernel.msgmax"),
        ("securityContext.runAsNonRoot", None, "c: runAsNonRoot is not true"),
        ("securityContext.runAsUser", 0, "pod: runAsUser is 0"),
        ("securityContext.seccompProfile", None, "c: seccompProfile"),
        ("containers.securityContext.seccompProfile", {"type": "Unconfined"}, "c: seccompProfile"),
        ("containers.securityContext.privileged", True, "c: privileged"),
        ("containers.securityContext.runAsNonRoot", False, "c: runAsNonRoot is not true"),
        ("containers.securityContext.runAsUser", 0, "c: runAsUser is 0"),
        (
            "containers.securityContext.allowPrivilegeEscalation",
            None,
            "c: allowPrivilegeEscalation is not false",
        ),
        ("containers.securityContext.capabilities", {}, "c: capabilities are not all dropped"),
        (
            "containers.securityContext.capabilities",
            {"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "SYS_ADMIN"]},
            "c: capability SYS_ADMIN",
        ),
        ("containers.securityContext.procMount", "Unmasked", "c: procMount"),
        ("containers.ports", [{"containerPort": 1, "hostPort": 1}], "c: hostPort 1"),
        ("containers.livenessProbe", {"httpGet": {"host": "x"}}, "c: a probe or hook names a host"),
        ("initContainers", [{"name": "i"}], "i: allowPrivilegeEscalation is not false"),
    ],
)
def test_what_is_not_restricted(path: str, value: object, expected: str) -> None:
    pod = copy.deepcopy(_POD)
    *parents, last = path.split(".")
    at: Any = pod
    for name in parents:
        at = at[name][0] if isinstance(at[name], list) else at[name]
    at[last] = value

    found = violations(pod)

    assert expected in found
    assert len(found) == 1 or last == "initContainers"
