"""The report as one HTML page: nothing is loaded from anywhere, and nothing but its own script may run.

The page is complete without the script, which sorts and filters tables.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final

import envbuild
from envbuild.quantities import byte_size, count
from envbuild.report.inventory import layers_section, licences_section, packages_section
from envbuild.report.markup import Markup, element, join, link
from envbuild.report.model import PARTS, Report
from envbuild.report.usage import commands_section, kernels_section, notebooks_section, time_element

__all__ = ["page"]

_HERE: Final = Path(__file__).parent
# A drawing, so that browsers do not ask for favicon.ico.
_ICON: Final = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E"
    "%3Cpath fill='%233557c8' d='M0 0h5v8H0z'/%3E%3Cpath fill='%238a3fb0' d='M5 0h3v5H5z'/%3E"
    "%3Cpath fill='%23127a6c' d='M5 5h3v3H5z'/%3E%3C/svg%3E"
)
_SECTIONS: Final = {
    "summary": "Summary",
    "layers": "Layers",
    "packages": "Packages",
    "licences": "Licences",
    "kernels": "Kernels",
    "notebooks": "Notebooks",
    "reproduce": "Reproduce",
}


def page(report: Report) -> str:
    """The whole page, as text to be written in UTF-8. The same report gives the same page."""
    style, script = _asset("style.css"), _asset("script.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name_="color-scheme", content="light dark"),
        element("meta", name_="generator", content=f"envbuild {envbuild.__version__}"),
        element("title", f"{report.title}: environment report"),
        Markup(f'<link rel="icon" href="{_ICON}">'),
        Markup(f"<style>{style}</style>"),
    )
    sections = {
        "summary": _summary(report),
        "layers": layers_section(report),
        "packages": packages_section(report),
        "licences": licences_section(report),
        "kernels": kernels_section(report),
        "notebooks": notebooks_section(report),
        "reproduce": commands_section(report),
    }
    navigation = element(
        "nav",
        element("ul", [element("li", link(f"#{key}", title)) for key, title in _SECTIONS.items()]),
        aria_label="Sections",
    )
    body = element(
        "body",
        link("#main", "Skip to content", class_="skip"),
        _header(report),
        navigation,
        element(
            "main",
            [
                element(
                    "section",
                    element("h2", title, id=f"{key}-title"),
                    sections[key],
                    id=key,
                    aria_labelledby=f"{key}-title",
                )
                for key, title in _SECTIONS.items()
            ],
            id="main",
            tabindex=-1,
        ),
        _footer(report),
        Markup(f"<script>{script}</script>"),
    )
    return "<!DOCTYPE html>\n" + element("html", head, body, lang="en") + "\n"


def _asset(name: str) -> str:
    return (_HERE / name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _header(report: Report) -> Markup:
    packages = sum(len(report.rows(part)) for part in PARTS)
    platforms = ", ".join(platform.platform for platform in report.platforms)
    largest = "up to " if len(report.platforms) > 1 else ""
    size = byte_size(max((platform.size for platform in report.platforms), default=0))
    download = byte_size(max((platform.stored for platform in report.platforms), default=0))
    return element(
        "header",
        element("p", "Environment report", class_="kind"),
        element("h1", report.title),
        element(
            "ul",
            [
                element("li", item)
                for item in (
                    platforms,
                    count(packages, "package"),
                    f"{largest}{size} of files",
                    f"{largest}{download} to download",
                )
            ],
            class_="lead",
        ),
    )


def _footer(report: Report) -> Markup:
    made = time_element(report.made) if report.made else None
    return element(
        "footer",
        element(
            "p",
            f"Made by envbuild {envbuild.__version__}",
            (" on ", made) if made else None,
            ". Sizes are in decimal units: 1 MB is 1,000,000 bytes.",
        ),
    )


def _summary(report: Report) -> Markup:
    facts = [
        element(
            "div",
            element("dt", fact.name),
            element("dd", element("code", fact.value) if fact.code else link(fact.value, fact.value)),
        )
        for fact in report.facts
    ]
    notes = [element("p", sentence, class_="note") for sentence in report.unknown]
    return join([element("dl", facts, class_="facts"), notes])
