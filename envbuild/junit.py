"""Results as JUnit's XML, which CI systems show.

There is no standard; this is the form that Jenkins and GitLab document and pytest writes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from envbuild.source.text import redact

__all__ = ["Case", "Kind", "Trouble", "junit_xml"]

Kind = Literal["failure", "error", "skipped"]

# What XML 1.0 has no way to write.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a case has not passed.

    A ``failure`` is the fault of what was tested, an ``error`` anything else that kept the test from telling.
    ``type`` is a stable word, ``message`` one line, ``text`` all there is to say.
    """

    kind: Kind
    message: str
    type: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that was tested, in ``seconds``; ``file`` is where it stands, if it stands in one."""

    classname: str
    name: str
    seconds: float
    trouble: Trouble | None = None
    file: str = ""


def junit_xml(suite: str, cases: Sequence[Case], *, seconds: float, properties: Mapping[str, str]) -> bytes:
    """One suite with all ``cases``.

    Parameters:
        seconds: how long all of it took.
        properties: facts about the run, like the image.
    """
    kinds = Counter(case.trouble.kind for case in cases if case.trouble is not None)
    counts = {
        "tests": str(len(cases)),
        "failures": str(kinds["failure"]),
        "errors": str(kinds["error"]),
        "skipped": str(kinds["skipped"]),
        "time": f"{seconds:.3f}",
    }
    top = ElementTree.Element("testsuites", counts)
    within = ElementTree.SubElement(top, "testsuite", {"name": suite, **counts})
    if properties:
        facts = ElementTree.SubElement(within, "properties")
        for name, value in properties.items():
            ElementTree.SubElement(facts, "property", {"name": name, "value": _text(value)})
    for case in cases:
        _add(within, case)
    ElementTree.indent(top)
    written: bytes = ElementTree.tostring(top, "utf-8", xml_declaration=True)
    return written + b"\n"


def _add(suite: ElementTree.Element, case: Case) -> None:
    attributes = {"classname": _text(case.classname), "name": _text(case.name)}
    attributes |= {"file": _text(case.file)} if case.file else {}
    made = ElementTree.SubElement(suite, "testcase", {**attributes, "time": f"{case.seconds:.3f}"})
    trouble = case.trouble
    if trouble is not None:
        kind = {"type": trouble.type} if trouble.type else {}
        told = ElementTree.SubElement(made, trouble.kind, {**kind, "message": _text(trouble.message)})
        told.text = _text(trouble.text) or None


def _text(text: str) -> str:
    """``text`` without credentials and without what XML has no way to write."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", redact(text))
