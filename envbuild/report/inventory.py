"""What is in the image, as sections of the page: layers, packages, licences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from envbuild.contents.licences import DEBIAN
from envbuild.quantities import byte_size, count
from envbuild.report.figure import legend, treemap_figure
from envbuild.report.markup import Content, Markup, element, join, link
from envbuild.report.model import PARTS, PackageRow, Part, PlatformReport, Report, ReportLayer

__all__ = ["layers_section", "licences_section", "packages_section"]

_FEW: Final = 12  # names that are shown without unfolding them


def layers_section(report: Report) -> list[Markup]:
    """The treemap of each platform's layers, and the same as a table."""
    several = len(report.platforms) > 1
    shown: list[Markup] = [
        element(
            "p",
            "What is where in the image, by size: each block is a package, and blocks of one layer are"
            " together.",
        ),
        legend({layer.part for platform in report.platforms for layer in platform.layers}),
    ]
    for platform in report.platforms:
        if several:
            shown.append(element("h3", platform.platform))
        shown.append(treemap_figure(platform))
        shown.append(_layer_table(platform, several=several))
    return shown


def _layer_table(platform: PlatformReport, *, several: bool) -> Markup:
    heads = (
        element("th", "Layer", scope="col"),
        element("th", "Files", scope="col", class_="number"),
        element("th", "Download", scope="col", class_="number"),
    )
    rows = [
        element(
            "tr",
            element(
                "th",
                element("span", layer.title or "no title", class_="name"),
                element("span", PARTS[layer.part], class_=f"tag {layer.part}"),
                _layer_packages(layer),
                scope="row",
            ),
            element("td", _size(layer.size), class_="number"),
            element("td", _size(layer.stored), class_="number"),
        )
        for layer in platform.layers
    ]
    total = element(
        "tr",
        element("th", "All layers", scope="row"),
        element("td", _size(platform.size), class_="number"),
        element("td", _size(platform.stored), class_="number"),
    )
    of = f" for {platform.platform}" if several else ""
    caption = element(
        "caption", f"Layers of the image{of}, bottom to top: size of the files, and compressed to download"
    )
    table = element(
        "table",
        caption,
        element("thead", element("tr", heads)),
        element("tbody", rows),
        element("tfoot", total),
        class_="layers",
    )
    return element(
        "details",
        element("summary", f"The same as a table: {count(len(rows), 'layer')}{of}"),
        table,
        class_="numbers",
    )


def _layer_packages(layer: ReportLayer) -> Markup | None:
    if not layer.packages or (len(layer.packages) == 1 and not layer.rest):
        return None
    items = [
        element("li", package.name, " ", element("span", _size(package.size), class_="size"))
        for package in layer.packages
    ]
    if layer.rest:
        items.append(element("li", "of no package ", element("span", _size(layer.rest), class_="size")))
    return element(
        "details",
        element("summary", count(len(layer.packages), "package")),
        element("ul", items, class_="sizes"),
    )


def _size(size: int | None) -> Markup:
    return element("span", "not known", class_="quiet") if size is None else join(byte_size(size))


# Packages


def packages_section(report: Report) -> list[Markup]:
    """A table of the packages of each part of the image."""
    tables = [(part, report.rows(part)) for part in PARTS]
    filled = [(part, rows) for part, rows in tables if rows]
    if not filled:
        return [element("p", "No package manager has left a trace in the image.", class_="note")]
    control = element(
        "div",
        element("label", "Filter packages", for_="filter"),
        element(
            "input",
            id="filter",
            type="search",
            autocomplete="off",
            spellcheck="false",
            aria_controls="packages",
        ),
        element("p", id="filter-status", role="status"),
        class_="filter",
        hidden=True,
    )
    several = len(report.platforms) > 1
    first = filled[0][0]
    return [
        control,
        *(
            element(
                "details",
                element(
                    "summary",
                    element("h3", PARTS[part]),
                    element(
                        "span", f" {count(len(rows), 'package')}, {byte_size(_sum(rows))}", class_="quiet"
                    ),
                ),
                _package_table(part, rows, report, several=several),
                class_="part",
                open=part == first,
            )
            for part, rows in filled
        ),
    ]


def _sum(rows: Iterable[PackageRow]) -> int:
    return sum(row.largest or 0 for row in rows)


def _package_table(part: Part, rows: Sequence[PackageRow], report: Report, *, several: bool) -> Markup:
    # On a phone the style lays rows out as blocks; some browsers then forget that it is a table, hence roles.
    heads = [
        element("th", title, scope="col", role="columnheader", class_=kind)
        for title, kind in (("Package", None), ("Version", None), ("Licence", None), ("Size", "number"))
    ]
    body = [_package(row, report, several=several) for row in rows]
    return element(
        "table",
        element("caption", f"Packages: {PARTS[part]}", class_="hidden"),
        element("thead", element("tr", heads, role="row"), role="rowgroup"),
        element("tbody", body, role="rowgroup"),
        class_="packages stacked sortable",
        role="table",
    )


def _package(row: PackageRow, report: Report, *, several: bool) -> Markup:
    package = row.package
    name = element(
        "th",
        element("span", link(package.home_page, package.name), class_="name"),
        element("span", "asked for", class_="tag direct") if package.direct else None,
        element("span", "conda", class_="tag") if package.kind == "conda" else None,
        element("span", package.summary, class_="summary") if package.summary else None,
        scope="row",
        role="rowheader",
        data_sort=package.name.lower(),
    )
    licence = package.licence
    return element(
        "tr",
        name,
        element(
            "td", package.version, data_sort=_version_key(package.version), class_="version", role="cell"
        ),
        element(
            "td",
            licence.text if licence else element("span", "not stated", class_="quiet"),
            data_sort=licence.text.lower() if licence else "\uffff",
            class_="licence",
            role="cell",
        ),
        element(
            "td",
            _row_size(row, report, several=several),
            class_="number",
            data_sort=str(row.largest if row.largest is not None else -1),
            role="cell",
        ),
        role="row",
    )


def _row_size(row: PackageRow, report: Report, *, several: bool) -> Content:
    sizes = list(row.sizes.values())
    everywhere = len(sizes) == len(report.platforms)
    if not several or (everywhere and len({_size(size) for size in sizes}) == 1):
        return _size(sizes[0])
    return [
        element("span", _size(size), element("span", f" {platform}", class_="quiet"), class_="line")
        for platform, size in row.sizes.items()
    ]


def _version_key(version: str) -> str:
    """A text by which versions are in order: numbers have the same width."""
    digits = "".join(char if char.isdigit() and char.isascii() else " " for char in version)
    return ".".join(number.zfill(10) for number in digits.split())


# Licences


def licences_section(report: Report) -> Content:
    """A table of licences, with their packages."""
    found = report.licences()
    if not found:
        return element("p", "Nothing is known about licences.", class_="note")
    rows = [
        element(
            "tr",
            element(
                "th",
                licence.text if licence else "not stated",
                None
                if licence is None or licence.spdx or licence == DEBIAN
                else (" ", element("span", "as stated", class_="tag")),
                scope="row",
                data_sort=licence.text.lower() if licence else "\uffff",
            ),
            element("td", len(names), class_="number", data_sort=str(len(names))),
            element("td", _names(names)),
        )
        for licence, names in found
    ]
    heads = (
        element("th", "Licence", scope="col"),
        element("th", "Packages", scope="col", class_="number"),
        element("th", "Which", scope="col", class_="fixed"),
    )
    return [
        element(
            "p",
            "What packages say about themselves, as an SPDX expression where there is no doubt which one is"
            " meant. Parts of a package may have other licences. Those of Debian's packages are in the image,"
            " in ",
            element("code", "/usr/share/doc/PACKAGE/copyright"),
            ".",
        ),
        element(
            "table",
            element("caption", "Licences, by number of packages", class_="hidden"),
            element("thead", element("tr", heads)),
            element("tbody", rows),
            class_="licences sortable",
        ),
    ]


def _names(names: Sequence[str]) -> Markup:
    listed = ", ".join(names)
    if len(names) <= _FEW:
        return join(listed)
    return element("details", element("summary", f"{names[0]} to {names[-1]}"), element("p", listed))
