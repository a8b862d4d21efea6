"""The Job that is submitted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from envbuild.errors import UsageError
from envbuild.image.reference import parse_reference
from envbuild.jobs.pod import has_failure_policy, make_job
from envbuild.jobs.request import Placement, Request
from envbuild.jobs.template import merge, read_template
from tests.support.pod_security import violations

NOW = (1, 34)
EVERYTHING = Placement("envs", registry_secret="login", config_map="settings", ca_config_map="authorities")


@pytest.mark.parametrize("version", [(1, 25), (1, 31), (1, 37)])
def test_fits_the_schema_of_that_version(request_: Request, version: tuple[int, int]) -> None:
    kubernetes_validate.validate(
        make_job(request_, EVERYTHING, version), f"{version[0]}.{version[1]}", strict=True
    )


def test_satisfies_the_restricted_level(request_: Request) -> None:
    spec = make_job(request_, EVERYTHING, NOW)["spec"]["template"]["spec"]
    (container,) = spec["containers"]

    assert [] == violations(spec)
    assert spec["securityContext"]["runAsUser"] > 0
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not spec["automountServiceAccountToken"]


def test_says_nothing_secret(request_: Request) -> None:
    """Passwords come from the Secret's file; what is in the Job may be read by many."""
    (container,) = make_job(request_, EVERYTHING, NOW)["spec"]["template"]["spec"]["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}

    assert "/var/run/secrets/envbuild" == variables["DOCKER_CONFIG"]
    assert "/etc/envbuild/authorities/ca.crt" == variables["SSL_CERT_FILE"]
    assert [{"configMapRef": {"name": "settings"}}] == container["envFrom"]


def test_older_clusters_are_not_told_what_they_do_not_know(request_: Request) -> None:
    old, new = (make_job(request_, Placement("envs"), version)["spec"] for version in ((1, 25), (1, 26)))

    assert (False, 0) == ("podFailurePolicy" in old, old["backoffLimit"])
    assert (True, 2) == ("podFailurePolicy" in new, new["backoffLimit"])
    assert not has_failure_policy((1, 20))


def test_template_is_merged_like_kubernetes_does(request_: Request) -> None:
    template = {
        "metadata": {"labels": {"team": "a"}},
        "spec": {
            "tolerations": [{"key": "builds"}],
            "containers": [
                {
                    "name": "build",
                    "resources": {"limits": {"memory": "8Gi"}},
                    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.org:3128"}],
                }
            ],
            "nodeSelector": {"disk": "fast"},
        },
    }

    made = make_job(request_, Placement("envs", template=template), NOW)["spec"]["template"]
    (container,) = made["spec"]["containers"]

    assert {"memory": "8Gi", "cpu": "2", "ephemeral-storage": "40Gi"} == container["resources"]["limits"]
    assert {"HTTPS_PROXY", "HOME"} <= {one["name"] for one in container["env"]}
    assert {"kubernetes.io/os": "linux", "disk": "fast"} == made["spec"]["nodeSelector"]
    assert [{"key": "builds"}] == made["spec"]["tolerations"]
    assert {"team": "a"}.items() < made["metadata"]["labels"].items()


def test_null_takes_away() -> None:
    assert {"a": {"c": 2}} == merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": None}, "d": None})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("nodeSelector: {}", None),
        ("spec: [", 1),
        ("spec: 2026-13-01", None),
        ("!!bool spec", None),
        ("- spec", None),
        ("spec: text", None),
        ("\0", None),
        ("", None),
    ],
)
def test_files_that_are_no_templates(tmp_path: Path, text: str, line: int | None) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text(text)

    with pytest.raises(UsageError) as caught:
        read_template(file)

    assert ("bad-pod-template", str(file)) == (caught.value.code, caught.value.file)
    assert line is None or caught.value.line is not None


def test_same_build_same_name(request_: Request) -> None:
    others: list[dict[str, Any]] = [
        {"source": "https://example.org/team/lakes#" + "a" * 40},
        {"content": "c" * 40},
        {"arguments": ("--compression=zstd",)},
        {"variables": ()},
        {"tags": (parse_reference("registry.example.org/team/rivers:2"),)},
        {"builder": parse_reference("registry.example.org/builder@sha256:" + "c" * 64)},
    ]

    names = {replace(request_, **other).name for other in others}

    assert len(others) == len(names - {request_.name})
    assert request_.name == replace(request_, title="another").name
    assert len(request_.name) < 64
