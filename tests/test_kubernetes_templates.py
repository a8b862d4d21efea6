"""The manifests for operators, held to the schemas of current versions of Kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

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
