"""The report as SARIF 2.1.0, which code hosts and editors read.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote

import envbuild
from envbuild.check.checker import Checked
from envbuild.check.rule import Finding, Rule
from envbuild.check.rules import GROUPS, RULES
from envbuild.check.text import sentence

__all__ = ["sarif_document"]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_ROOT = "SRCROOT"


def sarif_document(checked: Checked) -> dict[str, Any]:
    """One run: every rule there is, and a result for each finding."""
    index = {rule.code: number for number, rule in enumerate(RULES)}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "envbuild check",
                        "version": envbuild.__version__,
                        "semanticVersion": envbuild.__version__,
                        "rules": [_rule(rule) for rule in RULES],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, index[finding.rule.code]) for finding in checked.findings],
            }
        ],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.documentation},
        "help": {"text": rule.documentation, "markdown": rule.documentation},
        "defaultConfiguration": {"level": rule.severity},
        "properties": {"tags": [GROUPS[rule.code[:3]]]},
    }


def _result(finding: Finding, index: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule.code,
        "ruleIndex": index,
        "level": finding.severity,
        "message": {"text": sentence(finding)},
        # Lines of notebooks move with every output: what stays is the cell and what is said of it.
        "partialFingerprints": {"envbuild/v1": _fingerprint(finding)},
    }
    place: dict[str, Any] = {"artifactLocation": {"uri": ".", "uriBaseId": _ROOT}}
    if finding.file is not None:
        place = {
            "artifactLocation": {"uri": quote(finding.file), "uriBaseId": _ROOT},
            "region": {"startLine": finding.line or 1},
        }
    location: dict[str, Any] = {"physicalLocation": place}
    if finding.cell is not None:
        location["logicalLocations"] = [{"name": f"cell {finding.cell}", "kind": "member"}]
    result["locations"] = [location]
    return result


def _fingerprint(finding: Finding) -> str:
    text = "\0".join((finding.rule.code, finding.file or "", str(finding.cell or ""), finding.message))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
