"""The document that ``report --json`` prints (docs/schemas.md): what is on the page."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from envbuild.report.model import PARTS, NotebookEntry, Package, PlatformReport, Report, Run

__all__ = ["report_document"]


def report_document(report: Report, page: str, output: Path | None) -> dict[str, Any]:
    """``report``: the page's content, and where the page was written."""
    return {
        "name": report.name,
        "title": report.title,
        "output": str(output) if output else None,
        "digest": "sha256:" + hashlib.sha256(page.encode()).hexdigest(),
        "made": report.made.isoformat().replace("+00:00", "Z") if report.made else None,
        "facts": [{"name": fact.name, "value": fact.value} for fact in report.facts],
        "unknown": list(report.unknown),
        "platforms": [_platform(platform) for platform in report.platforms],
        "packages": [
            {**_package(row.package), "part": part, "sizes": dict(row.sizes)}
            for part in PARTS
            for row in report.rows(part)
        ],
        "licences": [
            {
                "licence": licence.text if licence else None,
                "spdx": licence.spdx if licence else None,
                "packages": names,
            }
            for licence, names in report.licences()
        ],
        "notebooks": None if report.notebooks is None else [_notebook(entry) for entry in report.notebooks],
        "commands": [{"command": command.line, "does": command.does} for command in report.commands],
    }


def _platform(platform: PlatformReport) -> dict[str, Any]:
    return {
        "platform": platform.platform,
        "image_id": platform.image_id,
        "digest": platform.digest,
        "python": platform.python,
        "size": platform.size,
        "download": platform.stored,
        "kernels": [
            {"name": kernel.name, "display_name": kernel.display_name, "language": kernel.language}
            for kernel in platform.kernels
        ],
        "layers": [
            {
                "title": layer.title,
                "part": layer.part,
                "digest": layer.digest,
                "diff_id": layer.diff_id,
                "size": layer.size,
                "download": layer.stored,
                "packages": [
                    {"name": package.name, "version": package.version, "size": package.size}
                    for package in layer.packages
                ],
                "rest": layer.rest,
            }
            for layer in platform.layers
        ],
    }


def _package(package: Package) -> dict[str, Any]:
    licence = package.licence
    return {
        "name": package.name,
        "version": package.version,
        "kind": package.kind,
        "direct": package.direct,
        "licence": licence.text if licence else None,
        "spdx": licence.spdx if licence else None,
        "summary": package.summary or None,
        "home_page": package.home_page or None,
    }


def _notebook(entry: NotebookEntry) -> dict[str, Any]:
    return {
        "path": entry.path,
        "kernel": entry.kernel,
        "language": entry.language,
        "run": _run(entry.run) if entry.run else None,
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "path": run.path,
        "started": run.started.isoformat().replace("+00:00", "Z") if run.started else None,
        "seconds": run.seconds,
        "platform": run.platform,
        "image_id": run.image_id,
        "environment": run.environment,
        "same_lock": run.lock,
        "commit": run.commit,
        "dirty": run.dirty,
        "parameters": run.parameters,
        "inputs": run.inputs,
        "failed_cell": run.failed,
    }
