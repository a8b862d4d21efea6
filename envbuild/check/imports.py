"""EB2: does the environment have what the notebooks import, and do they import what it has?"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from envbuild.check.context import Context
from envbuild.check.document import Document
from envbuild.check.rule import Hit, notebook_rule, repository_rule
from envbuild.contents.names import provides
from envbuild.errors import RepoError
from envbuild.source.text import clean
from envbuild.spec.cells import find_imports
from envbuild.spec.imports import common_modules, distribution_of, imported_name, used_without_import
from envbuild.spec.pep508 import canonical_name, parse_requirement

__all__ = ["RULES"]

_MOST_SOURCE = 2_000_000
# Names of packages that are programs, plugins and extensions begin like this.
_TOOLS = ("jupyter", "ipython-", "nb", "pytest-", "types-", "sphinx", "mkdocs", "black", "r-", "_")


@notebook_rule("EB201", "import-not-locked", "error")
def import_not_locked(document: Document, context: Context) -> Iterator[Hit]:
    """A notebook imports what nothing in the lock provides.

    This is exact: the locked packages' lists of files are looked at, not their names. Lists that are not in
    the cache are fetched, a few kilobytes each (`--offline`: not). Not reported: the standard library,
    modules of the repository, what the notebook installs or writes itself, and imports that need not succeed
    (`try` … `except ImportError`, `if TYPE_CHECKING`, `if sys.platform == …`, `if "google.colab"
    in sys.modules`).
    """
    if not context.is_locked or not context.provided.is_exact:
        return
    for module, cell, line in _missing(document, context):
        package = distribution_of(imported_name(module))
        shown = clean(_short(module))
        yield Hit(
            f"`import {shown}`: nothing that is locked provides it",
            cell,
            line,
            remedy=f"add {clean(package)} to {context.declared_in}, and run `envbuild lock`"
            if package
            else "add the package that has it, and run `envbuild lock`",
        )


@notebook_rule("EB202", "import-not-declared", "warning")
def import_not_declared(document: Document, context: Context) -> Iterator[Hit]:
    """A notebook imports what no dependency file names, and there is no lock to look into.

    By names alone: a package that is called like the module, or known to have it. What comes along with a
    declared package is known of a few only; a note for what many packages bring along (`numpy`, `requests`).
    `envbuild lock` makes this exact (EB201). Nothing is reported where only a `setup.py` knows.
    """
    if not context.is_locked or context.provided.is_exact or context.spec.packages is None:
        return
    for module, cell, line in _missing(document, context):
        package = distribution_of(imported_name(module))
        yield Hit(
            f"`import {clean(_short(module))}`: no dependency file names a package for it",
            cell,
            line,
            severity="note" if _short(module) in common_modules() else None,
            remedy=f"add {clean(package)} to {context.declared_in}"
            if package
            else "add the package that has it",
        )


@repository_rule("EB203", "package-not-imported", "note")
def package_not_imported(context: Context) -> Iterator[Hit]:
    """A package is asked for and locked, and nothing imports it.

    Notebooks and all `.py` files are looked at. Packages that others use without an import (`openpyxl`,
    extensions of Jupyter, linters) are not reported.
    """
    if not context.is_locked or context.lock is None or context.stale or context.spec.inferred:
        return
    target = context.lock.targets[0] if context.lock.targets else None
    if target is None or not context.spec.notebooks:
        return
    asked = {
        parsed.name: requirement
        for requirement in context.spec.requirements
        if (parsed := parse_requirement(requirement.text)) is not None
    }
    names = [
        wheel.name
        for wheel in target.wheels
        if wheel.direct and wheel.name in asked and not _is_tool(wheel.name)
    ]
    used = {item.module for notebook in context.spec.notebooks for item in notebook.import_lines}
    roots = context.provided.roots(names)
    unused = [name for name in names if roots.get(name) and not _is_used(roots[name], used)]
    if unused:
        used = _imports_of_modules(context)
    for name in unused:
        if not _is_used(roots[name], used):
            requirement = asked[name]
            yield Hit(
                f"{name} is locked, and nothing imports it",
                file=requirement.file,
                line=requirement.line,
                remedy="remove it if nothing else needs it",
            )


def _missing(document: Document, context: Context) -> Iterator[tuple[str, int, int]]:
    """``(module, cell, line)`` of each import that fails, the first of those from the same place."""
    if not document.is_python:
        return
    installed = {
        parsed.name
        for install in document.notebook.installs
        for text in install.requirements
        if (parsed := parse_requirement(text)) is not None
    }
    seen: set[str] = set()
    for item in document.notebook.import_lines:
        name = imported_name(item.module)
        if not name or name in seen:
            continue
        if installed & {canonical_name(name), canonical_name(distribution_of(name) or name)}:
            continue
        if not context.provided.has(item.module):
            seen.add(name)
            if not _is_made(document, name):
                yield item.module, item.cell, item.line


def _is_made(document: Document, name: str) -> bool:
    """Whether the notebook fetches, generates or writes the module itself: it speaks of the file."""
    if name.endswith(("_pb2", "_pb2_grpc")):  # protoc
        return True
    file = re.compile(rf"\b{re.escape(name.partition('.')[0])}\.py\b")
    return any(file.search(cell.source) for cell in document.code_cells)


def _short(module: str) -> str:
    """What of a dotted module is worth showing: of namespaces more than the first name."""
    return imported_name(module)


def _is_tool(name: str) -> bool:
    return name in used_without_import() or name.startswith(_TOOLS) or name.endswith(("-kernel", "-stubs"))


def _is_used(roots: frozenset[str], modules: set[str]) -> bool:
    return any(provides(roots, module) for module in modules)


def _imports_of_modules(context: Context) -> set[str]:
    """What the repository's Python files import."""
    found = set()
    for file in context.files:
        if file.kind == "file" and file.path.endswith(b".py") and file.size <= _MOST_SOURCE:
            try:
                text = context.repo.read(os.fsdecode(file.path), _MOST_SOURCE).decode("utf-8", "replace")
            except RepoError:
                continue
            found |= {item.module for item in find_imports(text)}
    return found


RULES = (import_not_locked, import_not_declared, package_not_imported)
