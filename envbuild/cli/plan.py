"""``envbuild plan``: look before building."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import (
    common_options,
    contents_options,
    platform_option,
    source_argument,
    spec_options,
    step_options,
)
from envbuild.cli.session import Session
from envbuild.cli.text import byte_size, columns

if TYPE_CHECKING:
    from envbuild.lock.model import Lock
    from envbuild.source import Repo
    from envbuild.source.selection import Selection
    from envbuild.spec import Spec

__all__ = ["plan"]

_NAMED = 6


@click.command(short_help="Show what is read and what would be built.")
@source_argument
@platform_option
@contents_options
@spec_options
@step_options
@common_options
def plan(session: Session, source: str) -> None:
    """Show what is read, what is ignored and why, and what would be built.

    Nothing is locked, downloaded or built. Exit code 1: something keeps the image from being built.
    """
    from envbuild.base.host import host_platform
    from envbuild.cli.documents import plan_document
    from envbuild.lock.ensure import read_lock, stale_reasons
    from envbuild.plan import make_plan

    project = session.project(source)
    found = read_lock(project.repo, session.store)
    platforms = project.settings.platforms or (host_platform(),)
    stale = stale_reasons(found, project.spec, project.repo, platforms)
    planned = make_plan(found.lock, platforms[0], found.data) if found and not stale else None
    spec, python = _with_python(project.spec, found.lock if found else None)
    spec, selection = _with_selection(spec, project.repo)
    document = plan_document(
        spec,
        found.lock if found else None,
        stale,
        planned,
        python=python,
        origin=project.repo.origin,
        selection=selection,
    )
    session.console.result(*_text(document))
    session.console.document(document)
    if any(problem["level"] == "error" for problem in document["problems"]):
        raise click.exceptions.Exit(1)


def _with_python(spec: Spec, lock: Lock | None) -> tuple[Spec, str | None]:
    """The Python that locking anew would give; when no base has it, that is one problem more.

    That of a registry's image is known only once it was locked.
    """
    from dataclasses import replace

    from envbuild.base.recipe import choose, load_recipes
    from envbuild.errors import RepoError
    from envbuild.spec.model import Problem

    if spec.base is not None:
        same = lock is not None and lock.base.image is not None and lock.base.name == spec.base.reference
        return spec, lock.base.python if lock is not None and same else None
    try:
        return spec, choose(spec.python, load_recipes(), required=spec.conda is None).python
    except RepoError as error:
        problem = Problem("error", error.code, error.message, error.file, error.line, error.remedy)
        return replace(spec, problems=(*spec.problems, problem)), None


def _with_selection(spec: Spec, repo: Repo) -> tuple[Spec, Selection | None]:
    """What goes into the image; that it cannot be found out is one problem more, and so is each file that
    counts and is not in the image.
    """
    from dataclasses import replace

    from envbuild.errors import RepoError
    from envbuild.source.selection import select
    from envbuild.spec.model import Problem

    try:
        selection = select(repo)
    except RepoError as error:
        problem = Problem("error", error.code, error.message, error.file, error.line, error.remedy)
        return replace(spec, problems=(*spec.problems, problem)), None
    kept = {file.name for file in selection.files}
    missing = [
        Problem(
            # Everything else has done its work when the image is made; this one runs in it.
            "warning" if file.kind == "start" else "note",
            "used-but-left-out",
            "this counts, and is left out of the image",
            file.path,
            remedy="if it is needed there, name it in the setting `include`",
        )
        for file in spec.files
        if file.used and file.path not in kept
    ]
    return replace(spec, problems=(*spec.problems, *missing)), selection


def _text(document: dict[str, Any]) -> list[str]:
    lines = []
    used = [(f"  {file['path']}", file["kind"], file["reason"]) for file in document["files"] if file["used"]]
    ignored = [
        (f"  {file['path']}", file["kind"], file["reason"]) for file in document["files"] if not file["used"]
    ]
    notebooks = [
        (f"  {notebook['path']}", notebook["kernel"] or "no kernel named", ", ".join(notebook["imports"]))
        for notebook in document["notebooks"]
    ]
    lines += _section("Files that count", used)
    lines += _section("Files that do not", ignored)
    lines += _section("Notebooks, their kernels and imports", notebooks)
    lines += _section("Requirements", _requirements(document))
    lines += _section("Environment", _environment(document))
    lines += _section("What runs to build it, in this order", _executions(document))
    lines += _section("Layers, bottom to top", _layers(document))
    lines += _section("The repository's files in the image", _contents(document["contents"]))
    lines += _section("Problems", _problems(document))
    return lines[1:]


def _section(title: str, rows: Sequence[Sequence[str]]) -> list[str]:
    return ["", f"{title}:", *columns(rows)] if rows else []


def _requirements(document: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (f"  {item['requirement']}", f"{item['file']}:{item['line']}" if item["line"] else item["file"])
        for item in document["requirements"]
    ]
    if document["adopted"]:
        rows.append(("  every package", f"as locked in {document['adopted']}"))
    return rows


def _environment(document: dict[str, Any]) -> list[tuple[str, str]]:
    asked = [
        f"{request['specifier']} ({request['file']})"
        for request in document["python"]["requested"]
        if not request["hint"]
    ]
    if document["builder"] != "envbuild":
        how = "from the Dockerfile" if document["builder"] == "Dockerfile" else "by repo2docker's buildpacks"
        return [("  built", f"{how}, on a container engine; there is nothing to lock")]
    stale = document["lock"]["stale"]
    base = document["base"]
    unknown = (
        "that of the base, which is looked at when it is locked" if base["asked"] else "none that is offered"
    )
    version = document["python"]["locked"] or document["python"]["chosen"] or unknown
    return [
        (
            "  Python",
            "; ".join([version, *(["asked for: " + ", ".join(asked)] if asked else [])]),
        ),
        *([("  base", _base(base))] if base["asked"] or base["digest"] else []),
        ("  kernels", ", ".join(document["kernels"])),
        ("  lock", "; ".join(stale) if stale else "up to date"),
        *(() if document["will_execute"] else [("  executed to build it", "nothing")]),
    ]


def _base(base: dict[str, Any]) -> str:
    place = (
        f" ({base['file']}:{base['line']})" if base["line"] else f" ({base['file']})" if base["file"] else ""
    )
    if base["asked"] is None:
        return f"{base['locked']} is locked; none is asked for"
    pinned = f", locked as {base['digest']}" if base["locked"] == base["asked"] else ""
    return f"{base['asked']}{place}{pinned}"


def _executions(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (
            f"  {number}. {execution['what']}",
            f"by `envbuild {execution['when']}`, "
            + ("with network" if execution["network"] else "no network"),
            f"{execution['file']}: {execution['why']}",
        )
        for number, execution in enumerate(document["will_execute"], 1)
    ]


def _contents(contents: dict[str, Any] | None) -> list[tuple[str, str]]:
    if contents is None:
        return []
    rows = [("  files", f"{contents['files']:,}, {byte_size(contents['bytes'])}")]
    by_reason: dict[str, list[str]] = {}
    for entry in contents["left_out"]:
        by_reason.setdefault(entry["reason"], []).append(entry["path"])
    for reason, paths in by_reason.items():
        more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
        rows.append(("  left out", f"{', '.join(paths[:_NAMED])}{more}: {reason}"))
    rows += [("  large", f"{entry['path']}, {byte_size(entry['bytes'])}") for entry in contents["large"]]
    if contents["by_pattern_only"]:
        rows.append(
            ("  note", "which files git tracks is not known here: .gitignore is followed to the letter")
        )
    return rows


def _layers(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for layer in document["layers"]:
        names = [package.partition("==")[0] for package in layer["packages"]]
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        rows.append((f"  {layer['title']}", byte_size(layer["bytes"]) if layer["bytes"] else "", shown))
    return rows


def _problems(document: dict[str, Any]) -> list[tuple[str]]:
    rows = []
    for problem in document["problems"]:
        place = f"{problem['file']}:{problem['line']}" if problem["line"] else problem["file"]
        rows.append((f"  {problem['level']}: {place + ': ' if place else ''}{problem['message']}",))
        if problem["remedy"]:
            rows.append((f"    help: {problem['remedy']}",))
    return rows
