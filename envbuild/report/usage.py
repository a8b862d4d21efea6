"""What the image is used with, as sections of the page: kernels, notebooks and their runs, commands."""

from __future__ import annotations

from datetime import datetime

from envbuild.quantities import count, duration
from envbuild.report.markup import Content, Markup, element
from envbuild.report.model import Command, NotebookEntry, Report, Run

__all__ = ["commands_section", "kernels_section", "notebooks_section", "time_element"]


def kernels_section(report: Report) -> Content:
    """A table of kernels."""
    kernels = {kernel.name: kernel for platform in report.platforms for kernel in platform.kernels}
    if not kernels:
        return element("p", "No kernel was found where envbuild puts them.", class_="note")
    rows = []
    for name, kernel in sorted(kernels.items()):
        used = sum(notebook.kernel == name for notebook in report.notebooks or ())
        rows.append(
            element(
                "tr",
                element("th", element("code", name), scope="row"),
                element("td", kernel.display_name),
                element("td", kernel.language),
                element("td", used, class_="number") if report.notebooks else None,
            )
        )
    heads = (
        element("th", "Name", scope="col"),
        element("th", "Shown as", scope="col"),
        element("th", "Language", scope="col"),
        element("th", "Notebooks", scope="col", class_="number") if report.notebooks else None,
    )
    return element(
        "table",
        element("caption", "Kernels, by the name that notebooks know them by"),
        element("thead", element("tr", heads)),
        element("tbody", rows),
    )


# Notebooks


def notebooks_section(report: Report) -> Content:
    """A table of notebooks with their last runs."""
    if report.notebooks is None:
        return element(
            "p",
            "This report is about an image. For notebooks and their runs, make it of the repository.",
            class_="note",
        )
    if not report.notebooks:
        return element("p", "There is no notebook in the repository.", class_="note")
    # Blocks on a phone, as the tables of packages are.
    heads = [
        element("th", title, scope="col", role="columnheader") for title in ("Notebook", "Kernel", "Last run")
    ]
    body = [_notebook(notebook, report) for notebook in report.notebooks]
    table = element(
        "table",
        element("caption", "Notebooks and their last runs, as far as executed copies tell"),
        element("thead", element("tr", heads, role="row"), role="rowgroup"),
        element("tbody", body, role="rowgroup"),
        class_="notebooks stacked",
        role="table",
    )
    if any(notebook.run for notebook in report.notebooks):
        return table
    hint = ("No executed copy was found. ", element("code", "envbuild run NOTEBOOK"), " writes one.")
    return [table, element("p", hint, class_="note")]


def _notebook(notebook: NotebookEntry, report: Report) -> Markup:
    kernel = (
        element("code", notebook.kernel) if notebook.kernel else element("span", "none named", class_="quiet")
    )
    return element(
        "tr",
        element("th", element("span", notebook.path, class_="name"), scope="row", role="rowheader"),
        element("td", kernel, role="cell"),
        element("td", _run(notebook.run, report) if notebook.run else _no_run(), role="cell"),
        role="row",
    )


def _no_run() -> Markup:
    return element("span", "no trace of a run", class_="quiet")


def _run(run: Run, report: Report) -> list[Content]:
    state = ("ran to its end", "good") if run.failed is None else (f"failed in cell {run.failed}", "bad")
    lines: list[Content] = [element("span", state[0], class_=f"tag {state[1]}")]
    if run.started is not None:
        lines += [" ", time_element(run.started)]
    if run.seconds is not None:
        lines.append(f", {duration(run.seconds)}")
    images = {platform.image_id for platform in report.platforms}
    if run.lock is False:
        lines.append(
            element(
                "span", "With another lock than this one: its results may be others now.", class_="line warn"
            )
        )
    elif run.lock and run.image_id in images:
        lines.append(element("span", "With this lock and this image.", class_="line quiet"))
    elif run.lock:
        same = run.platform in {platform.platform for platform in report.platforms}
        where = "in another image than this one" if same else f"on {run.platform}"
        lines.append(element("span", f"With this lock, {where}.", class_="line quiet"))
    if run.commit:
        changes = ", with changes that were not committed" if run.dirty else ""
        lines.append(
            element("span", "Commit ", element("code", run.commit[:12]), changes, class_="line quiet")
        )
    if run.parameters:
        listed = ", ".join(f"{name} = {value!r}" for name, value in sorted(run.parameters.items()))
        lines.append(element("span", "Parameters: ", element("code", listed[:500]), class_="line quiet"))
    if run.inputs:
        lines.append(element("span", f"{count(len(run.inputs), 'input file')} recorded", class_="line quiet"))
    return lines


def time_element(value: datetime) -> Markup:
    """A moment, for people and for programs."""
    return element("time", f"{value:%Y-%m-%d %H:%M} UTC", datetime=value.isoformat().replace("+00:00", "Z"))


# Reproducing


def commands_section(report: Report) -> list[Markup]:
    """What can be typed to make use of all this."""
    items = [
        element("li", element("p", f"{command.does[:1].upper()}{command.does[1:]}:"), _command(command))
        for command in report.commands
    ]
    return [element("p", report.needs), element("ul", items, class_="commands")]


def _command(command: Command) -> Markup:
    # What does not fit can be scrolled, also with the keyboard.
    label = f"Command that {command.does}"
    return element("pre", element("code", command.line), tabindex=0, role="group", aria_label=label)
