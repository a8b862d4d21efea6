"""The report as SARIF, read by an independent implementation of the format."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError
from sarif_pydantic import Sarif

from envbuild.check.checker import Checked
from envbuild.check.rules import RULES
from envbuild.check.sarif import sarif_document
from tests.check.conftest import notebook

FILES = {
    "requirements.txt": "numpy\n",
    "a b.ipynb": notebook("x = 1\ninput('über')"),
    "c.ipynb": "{",
}


def test_what_is_said(check: Callable[..., Checked]) -> None:
    run = Sarif.model_validate(sarif_document(check(FILES))).runs[0]

    assert [rule.code for rule in RULES] == [rule.id for rule in run.tool.driver.rules or []]
    assert [
        ("EB101", "warning", ".", None),
        ("EB603", "warning", "a%20b.ipynb", 10),
        ("EB401", "error", "c.ipynb", 1),
    ] == [
        (
            result.rule_id,
            result.level and result.level.value,
            result.locations[0].physical_location.artifact_location.uri,
            result.locations[0].physical_location.region
            and result.locations[0].physical_location.region.start_line,
        )
        for result in run.results or []
    ]
    assert [RULES[result.rule_index].code for result in run.results or []] == [
        result.rule_id for result in run.results or []
    ]


def test_findings_are_recognised_when_lines_move(check: Callable[..., Checked]) -> None:
    def fingerprints(files: dict[str, str]) -> list[str]:
        results = sarif_document(check(files, "EB603"))["runs"][0]["results"]
        return [result["partialFingerprints"]["envbuild/v1"] for result in results]

    before = fingerprints(FILES)
    assert before == fingerprints(FILES | {"a b.ipynb": notebook("x = 1\n\n\ninput('über')")})
    assert len(before) == 1


def test_the_other_implementation_is_strict(check: Callable[..., Checked]) -> None:
    document = sarif_document(check(FILES))
    document["runs"][0]["results"][0]["level"] = "fatal"
    with pytest.raises(ValidationError):
        Sarif.model_validate(document)
