"""The report for CI."""

from __future__ import annotations

from xml.etree import ElementTree

from envbuild.conformance.contract import chosen
from envbuild.conformance.junit import junit_report
from envbuild.conformance.model import Outcome, Result
from tests.conformance.platforms import SUBJECT


def test_a_case_for_each_test() -> None:
    user, shell, home = chosen(("user", "shell", "home"), ())
    results = [
        Result(user, Outcome("passed", "USER 1000"), 0.0),
        Result(shell, Outcome("failed", "it ended \x00 badly"), 1.25, "\x1b[31mlast line"),
        Result(home, Outcome("not-checked", "it needs `jupyter-lab`"), 0.0),
    ]

    suite = ElementTree.fromstring(junit_report(SUBJECT, "docker", results, seconds=2))[0]

    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "time")}
    assert {"tests": "3", "failures": "1", "errors": "1", "time": "2.000"} == counts
    passed, failed, unknown = suite.findall("testcase")
    assert (["user", "shell", "home"], []) == (
        [case.get("name") for case in suite.findall("testcase")],
        [*passed],
    )
    (failure,) = failed
    assert ("failure", "it ended \N{REPLACEMENT CHARACTER} badly") == (failure.tag, failure.get("message"))
    assert shell.remedy in str(failure.text)
    assert "last line" in str(failure.text)
    assert "error" == unknown[0].tag
