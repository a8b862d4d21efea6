"""The results of notebooks as JUnit's XML, which CI systems show.

There is no standard; this is the form that Jenkins and GitLab document and pytest writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from envbuild.notebook.execute import Executed
from envbuild.source.text import printable, redact

__all__ = ["junit_report", "xml_text"]

# What XML 1.0 has no way to write.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# What the code of a notebook did; everything else that can go wrong is an <error>.
_OF_THE_CODE = frozenset({"cell-failed"})


def junit_report(
    results: Sequence[Executed], *, seconds: float, properties: Mapping[str, str] | None = None
) -> bytes:
    """One suite with a case per notebook.

    Parameters:
        seconds: how long all of it took.
        properties: facts about the run, like the image.
    """
    broken = [result.error for result in results if result.error is not None]
    failures = sum(error.code in _OF_THE_CODE for error in broken)
    counts = {
        "tests": str(len(results)),
        "failures": str(failures),
        "errors": str(len(broken) - failures),
        "skipped": str(sum(result.skipped for result in results)),
        "time": f"{seconds:.3f}",
    }
    top = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(top, "testsuite", {"name": "envbuild run", **counts})
    if properties:
        facts = ElementTree.SubElement(suite, "properties")
        for name, value in properties.items():
            ElementTree.SubElement(facts, "property", {"name": name, "value": xml_text(value)})
    for result in results:
        suite.append(_case(result))
    ElementTree.indent(top)
    written: bytes = ElementTree.tostring(top, "utf-8", xml_declaration=True)
    return written + b"\n"


def _case(result: Executed) -> ElementTree.Element:
    path = xml_text(printable(result.notebook))
    case = ElementTree.Element(
        "testcase",
        {
            "classname": path.rpartition("/")[0].replace("/", ".") or "notebooks",
            "name": path,
            "file": path,
            "time": f"{result.seconds:.3f}",
        },
    )
    error = result.error
    if error is not None:
        kind = "failure" if error.code in _OF_THE_CODE else "error"
        attributes = {"type": error.code, "message": xml_text(error.message)}
        told = ElementTree.SubElement(case, kind, attributes)
        told.text = xml_text("\n\n".join(filter(None, (str(error), error.detail, error.remedy))))
    elif result.skipped:
        ElementTree.SubElement(case, "skipped", {"message": "another notebook failed before its turn"})
    return case


def xml_text(text: str) -> str:
    """``text`` without credentials and without what XML has no way to write."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", redact(text))
