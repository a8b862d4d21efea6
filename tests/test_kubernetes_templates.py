"""The manifests for operators, held to the schemas of current versions of Kubernetes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from envbuild.jobs.template import merge, read_template
from tests.support.pod_security import violations

_SANDBOX = Path(__file__).parents[1] / "templates" / "kubernetes" / "sandbox"
_TEMPLATES = sorted((Path(__file__).parents[1] / "templates" / "kubernetes").glob("*.yaml"))


def _objects(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text("utf-8")) if each is not None]


@pytest.mark.parametrize("path", _TEMPLATES, ids=lambda path: path.name)
def test_manifests_fit_the_schemas_of_current_versions(path: Path) -> None:
    for version in ("1.30", kubernetes_validate.latest_version()):
        for each in _objects(path):
            assert kubernetes_validate.validate(each, version, strict=True)


def test_the_schemas_can_say_no() -> None:
    role = next(each for path in _TEMPLATES for each in _objects(path) if each["kind"] == "Role")

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**role, "rule": []}, kubernetes_validate.latest_version(), strict=True)


def test_nobody_gets_everything_of_something() -> None:
    """No wildcard, no way to more rights, no secrets."""
    rules = [
        rule
        for path in _TEMPLATES
        for each in _objects(path)
        if each["kind"] in ("Role", "ClusterRole")
        for rule in each["rules"]
    ]

    assert rules
    for rule in rules:
        asked = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert set() == asked & {"*", "secrets", "escalate", "bind", "impersonate", "pods/exec", "roles"}


def test_the_pod_template_for_steps_fits_the_schema_and_differs_from_restricted_in_one_field() -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/: ``procMount`` is that field."""
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "build"},
        "spec": {
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "build",
                    "image": "registry.example.org/builder",
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
    made = merge(copy.deepcopy(pod), read_template(_SANDBOX / "pod-template.yaml"))

    kubernetes_validate.validate(made, kubernetes_validate.latest_version(), strict=True)
    assert ["build: procMount"] == violations(made["spec"])
    assert made["spec"]["hostUsers"] is False  # demanded by Kubernetes where there is `procMount`
    profile = made["spec"]["containers"][0]["securityContext"]["seccompProfile"]
    assert {"type": "Localhost", "localhostProfile": "envbuild.json"} == profile


def test_the_system_call_filter_allows_what_bubblewrap_needs_and_not_what_needs_rights() -> None:
    """The form is the runtime specification's, whose conditions are ``args`` and nothing else."""
    profile = json.loads((_SANDBOX / "seccomp.json").read_text())
    rules = profile["syscalls"]
    allowed = {name for rule in rules if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
    unshare = [rule["args"] for rule in rules if "unshare" in rule["names"]]

    assert "SCMP_ACT_ERRNO" == profile["defaultAction"]
    assert {"names", "action", "args", "errnoRet", "comment"} >= {key for rule in rules for key in rule}
    assert {"clone", "unshare", "mount", "umount2", "pivot_root", "sethostname", "seccomp"} <= allowed
    assert [[{"index": 0, "value": 0x10000000, "op": "SCMP_CMP_EQ"}]] == unshare  # CLONE_NEWUSER
    assert set() == allowed & {
        *("setns", "chroot", "umount", "clone3", "open_tree", "move_mount", "fsopen", "mount_setattr"),
        *("bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "keyctl", "add_key", "request_key"),
        *("init_module", "finit_module", "kexec_load", "reboot", "swapon", "open_by_handle_at", "syslog"),
        *("settimeofday", "clock_settime", "iopl", "ioperm", "quotactl", "acct", "setdomainname"),
    }
