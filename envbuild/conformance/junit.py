"""The results of contract tests for CI systems."""

from __future__ import annotations

from collections.abc import Sequence

from envbuild.conformance.model import Result, Subject
from envbuild.junit import Case, Kind, Trouble, junit_xml

__all__ = ["junit_report"]


def junit_report(subject: Subject, engine: str, results: Sequence[Result], *, seconds: float) -> bytes:
    """JUnit's XML: a case for each test; what could not be checked is an ``<error>``.

    Parameters:
        engine: what ran the image.
        seconds: how long all of it took.
    """
    return junit_xml(
        "envbuild verify-image",
        [Case("envbuild.contract", one.test.id, one.seconds, _trouble(one)) for one in results],
        seconds=seconds,
        properties={"image": subject.name, "image-id": subject.image_id, "engine": engine},
    )


def _trouble(result: Result) -> Trouble | None:
    test, outcome = result.test, result.outcome
    if outcome.state == "passed":
        return None
    parts = [f"expected: {test.title}", f"seen: {outcome.seen}", f"breaks: {test.relied_on_by}"]
    parts += [f"remedy: {test.remedy}", *([f"log:\n{result.log}"] if result.log else [])]
    kind: Kind = "failure" if outcome.state == "failed" else "error"
    return Trouble(kind, outcome.seen, outcome.state, "\n".join(parts))
