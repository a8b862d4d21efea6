"""EB4: is the file itself a notebook, whole and as the format wants it?"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from envbuild.check.context import Context
from envbuild.check.document import Document
from envbuild.check.edits import Edit
from envbuild.check.rule import Hit, notebook_rule, repository_rule
from envbuild.errors import RepoError

__all__ = ["RULES"]

_MOST_BYTES = 256 << 20
_CONFLICT = re.compile(r"(?m)^<{7} .*$")
_CONFLICT_BYTES = re.compile(rb"(?m)^(?:<{7} |={7}$|>{7} )")
_FIRST_KEY = re.compile(rb'\{(\s*)"')
_ID = re.compile(rb'"id":\s*("(?:[^"\\]|\\.)*")')
_IDS_SINCE = (4, 5)


@repository_rule("EB401", "notebook-unreadable", "error")
def notebook_unreadable(context: Context) -> Iterator[Hit]:
    """A file is called `.ipynb` and cannot be read as a notebook.

    Nobody can open it: it is not JSON (the line is where that ends), or not of a version of the format that
    is still in use.
    """
    for problem in context.spec.problems:
        if problem.code in ("bad-notebook", "bad-nbformat") and not _has_conflict(context, problem.file):
            yield Hit(problem.message, file=problem.file, line=problem.line, remedy=problem.remedy)


def _is_no_text(document: Document, context: Context) -> Iterator[Hit]:
    """What the spec does not look at may be broken, too: Jupyter reads all of the file."""
    try:
        document.data.decode()
    except UnicodeDecodeError as error:
        line = document.data.count(b"\n", 0, error.start) + 1
        yield Hit(f"line {line} is not UTF-8 text", remedy="restore the notebook from an intact copy")


notebook_unreadable = replace(notebook_unreadable, of_notebook=_is_no_text)


@repository_rule("EB402", "merge-conflict", "error")
def merge_conflict(context: Context) -> Iterator[Hit]:
    """A merge left its markers in a notebook.

    Git's own make a file that is not JSON; nbdime's are cells.
    """
    for problem in context.spec.problems:
        if problem.code == "bad-notebook" and (line := _has_conflict(context, problem.file)):
            yield Hit(
                "there are conflict markers of a merge",
                file=problem.file,
                line=line,
                remedy="resolve the conflict (`nbdime mergetool` shows cells instead of JSON)",
            )


@notebook_rule("EB403", "merge-conflict-in-cell", "error")
def merge_conflict_in_cell(document: Document, context: Context) -> Iterator[Hit]:
    """A cell holds the markers of a merge."""
    for cell in document.cells:
        if "<<<<<<< " in cell.source and (match := _CONFLICT.search(cell.source)):
            yield Hit(
                "there are conflict markers of a merge",
                cell.number,
                cell.source.count("\n", 0, match.start()) + 1,
                remedy="resolve the conflict",
            )


@notebook_rule("EB404", "nbformat-old", "warning")
def nbformat_old(document: Document, context: Context) -> Iterator[Hit]:
    """A notebook has a version of the format from before 2015, which Jupyter has to convert."""
    if document.nbformat < 4:
        yield Hit(
            f"this has nbformat {document.nbformat}",
            remedy="convert it: `jupyter nbconvert --to notebook --nbformat 4 --inplace`",
        )


@notebook_rule("EB405", "cell-id-duplicate", "warning", fixable=True)
def cell_id_duplicate(document: Document, context: Context) -> Iterator[Hit]:
    """Two cells have the same id.

    The format forbids it; tools that merge or comment notebooks mix the two up. `--fix` gives the later one a
    new id.
    """
    first: dict[str, int] = {}
    for cell in document.cells:
        if cell.id is None:
            continue
        if cell.id in first:
            yield Hit(
                f"this cell has the id of cell {first[cell.id]}",
                cell.number,
                remedy="let `envbuild check --fix` give it another one",
                fix=partial(_with_new_id, number=cell.number),
            )
        first.setdefault(cell.id, cell.number)


@notebook_rule("EB406", "cell-id-missing", "note", fixable=True)
def cell_id_missing(document: Document, context: Context) -> Iterator[Hit]:
    """A cell has no id, though the notebook's version of the format (4.5) demands one.

    Jupyter gives it another one whenever the notebook is opened. `--fix` adds one that stays.
    """
    if (document.nbformat, document.minor) < _IDS_SINCE:
        return
    missing = [cell for cell in document.cells if cell.id is None]
    if missing:
        yield Hit(
            f"{len(missing)} of {len(document.cells)} cells have no id, this one first",
            missing[0].number,
            remedy="let `envbuild check --fix` add them",
            fix=_with_ids,
        )


def _has_conflict(context: Context, path: str | None) -> int | None:
    """The line of the first conflict marker in the file at ``path``, None when there is none."""
    try:
        data = context.repo.read(path or "", _MOST_BYTES)
    except RepoError:
        return None
    markers = list(_CONFLICT_BYTES.finditer(data))
    if len(markers) < 3 or not markers[0][0].startswith(b"<"):
        return None
    return data.count(b"\n", 0, markers[0].start()) + 1


def _new_id(document: Document, number: int) -> bytes:
    """An id for a cell: the same whenever it is asked for, and no other cell's."""
    used = {cell.id for cell in document.cells}
    attempt = 0
    while True:
        text = f"{number} {attempt} {document.cells[number - 1].source}"
        made = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
        if made not in used:
            return made.encode()
        attempt += 1


def _with_new_id(document: Document, number: int) -> tuple[Edit, ...]:
    start, raw = document.slice_of(number)
    wanted = document.cells[number - 1].id
    for match in _ID.finditer(raw):  # not that of something in an output
        if json.loads(match[1]) == wanted:
            return (Edit(start + match.start(1), start + match.end(1), b'"%s"' % _new_id(document, number)),)
    return ()


def _with_ids(document: Document) -> tuple[Edit, ...]:
    missing = [cell.number for cell in document.cells if cell.id is None]
    return tuple(edit for number in missing for edit in _with_id(document, number))


def _with_id(document: Document, number: int) -> tuple[Edit, ...]:
    start, raw = document.slice_of(number)
    first = _FIRST_KEY.match(raw)
    if first is None:
        return ()
    # Jupyter sorts keys: after cell_type and execution_count.
    place = raw.find(b'"metadata"')
    keys = raw[first.end() - 1 : place]
    at = (
        place
        if place > 0 and keys.startswith((b'"cell_type"', b'"execution_count"')) and b"[" not in keys
        else 0
    )
    at = at or first.end() - 1
    space = first[1] or b" "
    separator = b": " if b'": ' in raw[:200] else b":"
    text = b'"id"' + separator + b'"%s",' % _new_id(document, number) + (space if first[1] else b"")
    return (Edit(start + at, start + at, text),)


RULES = (
    notebook_unreadable,
    merge_conflict,
    merge_conflict_in_cell,
    nbformat_old,
    cell_id_duplicate,
    cell_id_missing,
)
