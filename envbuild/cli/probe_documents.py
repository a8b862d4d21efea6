"""What ``envbuild probe`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envbuild.cli.text import count, escape

if TYPE_CHECKING:
    from envbuild.cli.probing import ProbedImage
    from envbuild.probe.model import Thresholds

__all__ = ["probe_document", "probe_lines"]

_WORDS = {"server": "server answers", "kernel": "kernel answers", "imports": "imports"}


def probe_document(probed: ProbedImage, exceeded: list[str]) -> dict[str, Any]:
    """One environment of the document of ``envbuild probe --json``."""
    report = probed.report
    return {
        "environment": probed.name,
        "image_id": probed.image_id,
        "digest": probed.digest,
        "engine": probed.engine,
        "node": probed.node,
        "starts": [
            {
                "server": round(start.server, 3),
                "kernel": round(start.kernel, 3),
                "imports": None if start.imports is None else round(start.imports, 3),
                "pulled": start.pulled,
            }
            for start in report.starts
        ],
        "median": {phase: round(value, 3) for phase, value in report.medians.items()},
        "worst": {phase: round(value, 3) for phase, value in report.worst.items()},
        "packages": list(probed.packages),
        "broken": list(report.broken),
        "exceeded": exceeded,
    }


def probe_lines(document: dict[str, Any], thresholds: Thresholds) -> list[str]:
    """The same for people."""
    node = f", node {document['node']}" if document["node"] else ""
    pulled = sum(bool(start["pulled"]) for start in document["starts"])
    cold = f", pulled in {pulled} of {count(len(document['starts']), 'start')}" if pulled else ""
    lines = [f"{escape(document['environment'])} on {document['engine']}{node}{cold}"]
    for phase, median in document["median"].items():
        bound = getattr(thresholds, phase)
        verdict = ""
        if bound is not None:
            verdict = f"  MORE than {bound:g} s" if phase in document["exceeded"] else f"  within {bound:g} s"
        worst = document["worst"][phase]
        lines.append(f"  {_WORDS[phase]:<15}{median:8.2f} s  (worst {worst:.2f} s){verdict}")
    return lines
