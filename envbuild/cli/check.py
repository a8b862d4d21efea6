"""``envbuild check``: would it run elsewhere?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envbuild.cli.options import (
    common_options,
    output_option,
    platform_option,
    source_argument,
    spec_options,
)
from envbuild.cli.session import MOST_CONFIG_BYTES, Project, Session
from envbuild.cli.text import count
from envbuild.source.text import printable, redact

if TYPE_CHECKING:
    from envbuild.check.checker import Checked, Fixed
    from envbuild.check.selection import Selection
    from envbuild.lock.model import Artifact, Lock

__all__ = ["check"]


@click.command(short_help="Find what would not run elsewhere.")
@source_argument
@click.option("--select", multiple=True, metavar="RULE", help="Ask only these rules; repeatable, or a,b.")
@click.option("--ignore", multiple=True, metavar="RULE", help="Do not ask these rules; repeatable, or a,b.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    help="How findings are printed. Default: text.",
)
@output_option
@click.option("--fix", is_flag=True, help="Mend what can be mended safely, and say what.")
@click.option("--diff", is_flag=True, help="Show what --fix would change, and change nothing.")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--explain", metavar="RULE", help="Print what a rule is about (ALL: all of them), and stop.")
@platform_option
@spec_options
@common_options
def check(
    session: Session,
    source: str,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    form: str,
    output: Path | None,
    fix: bool,
    diff: bool,
    strict: bool,
    explain: str | None,
) -> None:
    """Find what would keep the notebooks of SOURCE from running elsewhere.

    Nothing is run, built or installed. RULE is a code (EB201), the beginning of codes (EB2) or a name
    (import-not-locked). Exit code 1: there are errors.
    """
    if explain is not None:
        session.console.result(*_explanation(explain))
        return
    project = session.project(source)
    if (fix or diff) and project.repo.origin is not None:
        raise click.UsageError("--fix and --diff are for a directory of yours, not for what was fetched")
    selection = _selection(project, select, ignore)
    checked = found = _checked(session, project, selection, fix=fix or diff)
    written = fix and not diff and bool(found.fixed)
    if written:
        from envbuild.check.edits import write

        for fixed in found.fixed:
            write(project.repo, fixed.file, fixed.before, fixed.after)
        checked = _checked(session, session.project(source), selection, fix=False)
    shown = "json" if session.console.machine else form
    text = _formatted(session, checked, found.fixed, shown, written=written)
    if output is not None:
        from envbuild.cli.files import write_named

        write_named(output, text.encode(), "--output")
    else:
        session.console.print(text)
    if shown == "text":
        _tell(session, checked, found.fixed, written=written, diff=diff)
    if checked.count("error") or (strict and checked.count("warning")):
        raise click.exceptions.Exit(1)


def _checked(session: Session, project: Project, selection: Selection, *, fix: bool) -> Checked:
    from envbuild.base.host import host_platform
    from envbuild.check.checker import check_repository
    from envbuild.check.context import make_context
    from envbuild.contents.modules import Modules

    def addresses(lock: Lock) -> Callable[[Artifact], str]:
        return session.addresses(lock, project.settings)

    context = make_context(
        project.repo,
        project.spec,
        store=session.store,
        platforms=project.settings.platforms or (host_platform(),),
        modules=lambda lock: Modules(
            session.store, None if project.settings.offline else partial(addresses, lock)
        ),
    )
    with session.console.stage("check", unit=""):
        return check_repository(context, selection, fix=fix)


def _selection(project: Project, select: Sequence[str], ignore: Sequence[str]) -> Selection:
    from envbuild.check.selection import make_selection
    from envbuild.config import repository_table

    def text(name: str) -> str | None:
        repo = project.repo
        return repo.read(name, MOST_CONFIG_BYTES).decode("utf-8", "replace") if repo.exists(name) else None

    table, file = repository_table("check", pyproject=text("pyproject.toml"), own=text("envbuild.toml"))
    return make_selection(select=_split(select), ignore=_split(ignore), table=table, file=file)


def _split(values: Sequence[str]) -> list[str]:
    return [part for value in values for part in value.replace(",", " ").split()]


def _formatted(
    session: Session, checked: Checked, fixed: Sequence[Fixed], form: str, *, written: bool
) -> str:
    from envbuild.check.sarif import sarif_document
    from envbuild.check.text import github_lines, text_lines
    from envbuild.cli.check_documents import check_document

    if form == "sarif":
        return json.dumps(sarif_document(checked), indent=2) + "\n"
    if form == "json":
        document = check_document(checked, fixed, written=written, seconds=session.console.rounded_seconds)
        return json.dumps(document, indent=2) + "\n"
    lines = github_lines(checked) if form == "github" else text_lines(checked)
    return "".join(f"{printable(line)}\n" for line in lines)


def _tell(session: Session, checked: Checked, fixed: Sequence[Fixed], *, written: bool, diff: bool) -> None:
    """Beside the findings: what was mended, or could be, and how many there are."""
    from envbuild.check.credentials import conceal
    from envbuild.check.edits import difference

    for each in fixed:
        if diff:
            session.console.result(
                *(conceal(redact(line)) for line in difference(each.path, each.before, each.after))
            )
        elif written:
            for finding in each.findings:
                session.console.note(f"mended: {finding.place}: {finding.rule.code} {finding.message}")
    totals = [count(checked.count(severity), severity) for severity in ("error", "warning", "note")]
    hidden = f" ({checked.suppressed} suppressed)" if checked.suppressed else ""
    session.console.note(f"{count(checked.notebooks, 'notebook')}: {', '.join(totals)}{hidden}")
    mendable = sum(bool(finding.edits) for finding in checked.findings)
    if mendable and not written and not diff:
        session.console.note(f"{mendable} of them can be mended with --fix [*]")


def _explanation(selector: str) -> Iterator[str]:
    from envbuild.check.rules import RULES, matching

    try:
        codes = matching(_split([selector]))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    for number, rule in enumerate(rule for rule in RULES if rule.code in codes):
        yield from ("",) if number else ()
        yield f"{rule.code} {rule.name} ({rule.severity}{', --fix' if rule.fixable else ''})"
        yield ""
        yield from rule.documentation.splitlines()
