"""The results of contract tests as JUnit's XML, in the form that :mod:`envbuild.notebook.junit` writes."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from envbuild.conformance.model import Result, Subject
from envbuild.notebook.junit import xml_text

__all__ = ["junit_report"]


def junit_report(subject: Subject, engine: str, results: Sequence[Result], *, seconds: float) -> bytes:
    """One suite with a case for each test; what could not be checked is an ``<error>``.

    Parameters:
        engine: what ran the image.
        seconds: how long all of it took.
    """
    states = [result.outcome.state for result in results]
    counts = {
        "tests": str(len(results)),
        "failures": str(states.count("failed")),
        "errors": str(states.count("not-checked")),
        "skipped": "0",
        "time": f"{seconds:.3f}",
    }
    top = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(top, "testsuite", {"name": "envbuild verify-image", **counts})
    facts = ElementTree.SubElement(suite, "properties")
    for name, value in (("image", subject.name), ("image-id", subject.image_id), ("engine", engine)):
        ElementTree.SubElement(facts, "property", {"name": name, "value": xml_text(value)})
    for result in results:
        attributes = {
            "classname": "envbuild.contract",
            "name": result.test.id,
            "time": f"{result.seconds:.3f}",
        }
        case = ElementTree.SubElement(suite, "testcase", attributes)
        if result.outcome.state != "passed":
            kind = "failure" if result.outcome.state == "failed" else "error"
            told = ElementTree.SubElement(
                case, kind, {"type": result.outcome.state, "message": xml_text(result.outcome.seen)}
            )
            told.text = xml_text(_told(result))
    ElementTree.indent(top)
    written: bytes = ElementTree.tostring(top, "utf-8", xml_declaration=True)
    return written + b"\n"


def _told(result: Result) -> str:
    test = result.test
    parts = [f"expected: {test.title}", f"seen: {result.outcome.seen}", f"breaks: {test.relied_on_by}"]
    parts += [f"remedy: {test.remedy}", *([f"log:\n{result.log}"] if result.log else [])]
    return "\n".join(parts)
