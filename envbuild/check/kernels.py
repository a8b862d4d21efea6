"""EB3: do the kernel and the Python that notebooks name exist?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from envbuild.check.context import Context
from envbuild.check.document import Document
from envbuild.check.rule import Hit, notebook_rule, repository_rule
from envbuild.spec.cells import python_text

__all__ = ["RULES"]

_PYTHON_2 = re.compile(
    r"(?m)^[ \t]*(?:print[ \t]+[^(\s=]|exec[ \t]+['\"\w]|raise[ \t]+\w+[ \t]*,|except[ \t].*,)"
)
_UNAVAILABLE = frozenset({"bad-kernel-name", "kernel-conflict", "kernel-not-supported"})


@repository_rule("EB301", "kernel-not-available", "error")
def kernel_not_available(context: Context) -> Iterator[Hit]:
    """A notebook names a kernel that the environment cannot give.

    Its language needs an interpreter that nothing in the repository asks for, or the name cannot be one.
    Names of Python kernels are no problem, whatever they are: envbuild makes each of them.
    """
    for problem in context.spec.problems:
        if problem.code in _UNAVAILABLE:
            yield Hit(problem.message, file=problem.file, line=problem.line, remedy=problem.remedy)


@notebook_rule("EB302", "kernel-not-named", "note")
def kernel_not_named(document: Document, context: Context) -> Iterator[Hit]:
    """A notebook does not say which kernel it wants.

    Jupyter asks whoever opens it, and programs that run notebooks guess or refuse.
    """
    if document.notebook.kernel is None and document.nbformat == 4 and document.code_cells:
        yield Hit("no kernel is named", remedy="choose a kernel in Jupyter, and save")


@notebook_rule("EB303", "python-version", "note")
def python_version(document: Document, context: Context) -> Iterator[Hit]:
    """A notebook was last run with another Python than the environment has.

    A note when it was an older one, which is as a rule fine; a warning when it was a newer one. Where there
    is no lock, it is compared with what the repository asks for. Python 2 is an error where a cell's code is
    only that, and a warning otherwise.
    """
    version = re.match(r"(\d{1,3})\.(\d{1,3})(?:\.|$)", document.notebook.language_version or "", re.ASCII)
    if version is None or not document.is_python:
        return
    ran = int(version[1]), int(version[2])
    shown = f"{ran[0]}.{ran[1]}"
    if ran[0] < 3:
        cell = _python_2_cell(document)
        yield Hit(
            f"this was written for Python {shown}"
            + (", and this cell is no code of Python 3" if cell else ", and will run on Python 3"),
            cell,
            severity="error" if cell else "warning",
            remedy="port it, and run it once",
        )
        return
    if context.python is not None:
        major, minor = context.python.split(".")[:2]
        locked = int(major), int(minor)
        if ran != locked:
            yield Hit(
                f"this was last run with Python {shown}, and the lock has {major}.{minor}",
                severity="warning" if ran > locked else None,
                remedy="run it once in the environment (`envbuild run`), and save the result",
            )
        return
    for request in context.spec.python:
        if not request.hint and not _allows(request.specifier, shown):
            place = f"{request.file}:{request.line}" if request.line else request.file
            yield Hit(
                f"this was last run with Python {shown}, which {place} excludes ({request.specifier})",
                severity="note" if _allows_newer(request.specifier, ran) else "warning",
                remedy="run it once in the environment (`envbuild run`), and save the result",
            )


def _python_2_cell(document: Document) -> int | None:
    """The first cell with a statement of Python 2 in it."""
    for cell in document.python_cells:
        if _PYTHON_2.search(cell.source) and python_text(cell.source) and document.tree(cell) is None:
            return cell.number
    return None


def _allows_newer(specifier: str, ran: tuple[int, int]) -> bool:
    return any(_allows(specifier, f"3.{minor}") for minor in range(ran[1] + 1, 40))


def _allows(specifier: str, version: str) -> bool:
    """Whether some patch release of ``version`` fits; true when that cannot be told."""
    try:
        wanted = SpecifierSet(specifier)
    except InvalidSpecifier:
        return True
    return any(wanted.contains(f"{version}.{patch}") for patch in range(40))


RULES = (kernel_not_available, kernel_not_named, python_version)
