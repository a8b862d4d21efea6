"""EB6: does the code need what only this machine, this account or somebody at the keyboard has?"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from envbuild.check.context import Context
from envbuild.check.document import Cell, Document
from envbuild.check.edits import Edit
from envbuild.check.rule import Hit, notebook_rule
from envbuild.source.text import clean
from envbuild.spec.cells import conditional_lines
from envbuild.spec.pep508 import parse_requirement

__all__ = ["RULES"]

_SKIPPED = frozenset({"skip-execution", "raises-exception", "nbval-skip"})

_SYSTEM = re.compile(
    r"(?m)^[ \t]*[!%](?:sudo[ \t]+)?(?:-[\w-]+[ \t]+)*"
    r"((?:apt|apt-get|yum|dnf|brew)[ \t]+(?:-\S+[ \t]+)*install\b.*)$"
)
_SHELL_PIP = re.compile(rb"![ ]?(pip3?)( install )")
_SHELL_PIPS = ("!pip install ", "!pip3 install ", "! pip install ", "! pip3 install ")
_STARTING = frozenset({"Popen", "call", "check_call", "check_output", "run", "system"})
_PIP_WORDS = re.compile(r"\bpip3?\b.*\binstall\b")

_ROOTS = "home|Users|content|kaggle|mnt|media|scratch|Volumes|dbfs|gpfs|root|nfs|lustre|gdrive"
# What a text with a path in it must have: to parse a cell takes a thousand times longer.
_MAYBE_PATH = re.compile(rf"(?:[\s\"'=(]|file://)(?:/(?:{_ROOTS})/|~/|[A-Za-z]:(?:\\|/(?!/)))")
_PATH = re.compile(
    r"""(?:file://)?(?:
        (?P<home>/(?:home|Users)/[\w.@-]+(?:/|$)|/root/\w|~/(?!\.)\w)
        |(?P<windows>[A-Za-z]:(?:\\{1,2}|/)(?!/)[\w.%~][^\n:*?"<>|]*$)
        |(?P<colab>/content/\w|/gdrive/\w)
        |(?P<kaggle>/kaggle/(?:input|working)\b)
        |(?P<machine>/(?:mnt|media|Volumes|scratch|dbfs|gpfs|nfs|lustre)/\w)
    )""",
    re.VERBOSE,
)
_IN_SHELL = re.compile(
    r"(?<![\w.~/:-])(?:/(?:home|Users|content|kaggle|mnt|media|Volumes|scratch|dbfs|root)/|~/)[^\s'\"|;&>)]+"
)
_WHERE = {
    "home": "in somebody's home directory",
    "windows": "on a drive of Windows",
    "colab": "where only Colab has files",
    "kaggle": "where only Kaggle has files",
    "machine": "where this machine keeps its data",
}
# A text given to these is not the name of a file to open.
_SHOWN = frozenset(
    {"print", "replace", "startswith", "endswith", "split", "Markdown", "HTML", "display", "strip", "lstrip"}
)
_SHOWN |= {"sub", "compile", "match", "search", "findall", "xpath", "route", "assertEqual", "skip"}

_ASKS = {
    "input": "input() waits for somebody to type",
    "raw_input": "raw_input() waits for somebody to type",
    "getpass": "getpass() waits for somebody to type",
    "breakpoint": "breakpoint() starts a debugger",
    "notebook_login": "notebook_login() asks for a token",
    "ginput": "ginput() waits for clicks",
    "waitforbuttonpress": "waitforbuttonpress() waits for a key",
}
_ASKS_OF = {
    ("pdb", "set_trace"): "set_trace() starts a debugger",
    ("drive", "mount"): "drive.mount() is Colab's, and asks for consent",
    ("files", "upload"): "files.upload() is Colab's, and waits for a file",
    ("cv2", "waitKey"): "cv2.waitKey() waits for a key in a window",
    ("turtle", "mainloop"): "turtle.mainloop() waits until a window is closed",
    ("turtle", "done"): "turtle.done() waits until a window is closed",
}
_ASKING = re.compile(rf"\b(?:{'|'.join([*_ASKS, *(name for _, name in _ASKS_OF)])})\s*\(")
_OWN_INPUT = re.compile(r"(?m)^\s*(?:input\s*=[^=]|def\s+input\b|from\s.*\bimport\b.*\binput\b)")
_ASK_LINE = re.compile(
    r"(?m)^[ \t]*%(?:debug\b|pdb[ \t]+(?:on|1)\b|gui[ \t]+\w"
    r"|matplotlib[ \t]+(?:qt\d?|tk|wx|gtk\d?|osx|macosx)\b)"
)


@notebook_rule("EB601", "install-in-cell", "warning", fixable=True)
def install_in_cell(document: Document, context: Context) -> Iterator[Hit]:
    """A cell installs packages while the notebook runs.

    It takes another version every time, needs a network, and may change what other notebooks have. A note
    when the environment has all of it anyway. Not reported where it is for Colab only (`if "google.colab" in
    sys.modules:`). `--fix` makes `%pip` of `!pip`, which may install into another Python.
    """
    if not document.is_python:
        return
    there = context.spec.packages or frozenset()
    for install in document.notebook.installs:
        cell = document.cells[install.cell - 1]
        if _is_left_out(document, cell, install.line):
            continue
        names = [parsed.name for text in install.requirements if (parsed := parse_requirement(text))]
        missing = [name for name in names if name not in there]
        wanted = ", ".join(missing) if missing else "what it needs"
        yield Hit(
            f"`{install.text}` installs while the notebook runs",
            cell.number,
            install.line,
            severity="note" if names and not missing else None,
            remedy="remove the line: the environment has it"
            if names and not missing
            else f"add {clean(wanted)} to {context.declared_in}, and remove the line",
            fix=partial(_with_magic, cell=cell.number, line=install.line),
        )
    for cell in document.python_cells:
        yield from _other_installs(document, cell)


def _other_installs(document: Document, cell: Cell) -> Iterator[Hit]:
    if "install" not in cell.source:
        return
    for match in _SYSTEM.finditer(cell.source):
        line = cell.source.count("\n", 0, match.start()) + 1
        if not _is_left_out(document, cell, line):
            yield Hit(
                f"`{clean(match[1])}` installs while the notebook runs",
                cell.number,
                line,
                remedy="name the packages in apt.txt, and remove the line",
            )
    if "pip" not in cell.source or not ("subprocess" in cell.source or "system" in cell.source):
        return
    for call in _calls(document, cell):
        name = _called(call)
        if (
            name[-1] in _STARTING
            and _PIP_WORDS.search(" ".join(_texts(call)))
            and not _is_left_out(document, cell, call.lineno)
        ):
            yield Hit(
                "a call of pip installs while the notebook runs",
                cell.number,
                call.lineno,
                remedy="name the packages in a dependency file, and remove the call",
            )


@notebook_rule("EB602", "path-not-portable", "warning")
def path_not_portable(document: Document, context: Context) -> Iterator[Hit]:
    """A path leads to where only one machine or one account has files.

    Home directories (`/home/alice`, `C:\\Users`, `~/data`), mounted disks, and where Colab and Kaggle keep
    files (`/content`, `/kaggle`). Texts that are only shown or compared are not reported, nor what is for
    Colab only.
    """
    for cell in document.python_cells:
        if not _MAYBE_PATH.search(cell.source):
            continue
        seen: set[tuple[int, str]] = set()
        for line, text, where in (*_literal_paths(document, cell), *_shell_paths(cell)):
            if (line, text) not in seen and not _is_left_out(document, cell, line):
                seen.add((line, text))
                yield Hit(
                    f"`{clean(text)}` is {where}",
                    cell.number,
                    line,
                    remedy="use a path relative to the notebook, or read it from a parameter",
                )


def _literal_paths(document: Document, cell: Cell) -> Iterator[tuple[int, str, str]]:
    tree = document.tree(cell)
    if tree is None:
        return
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Call) and _called(node)[-1] in _SHOWN:
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring, or a remark
        if isinstance(node, ast.Compare):
            continue
        if isinstance(node, ast.JoinedStr):
            first = node.values[0] if node.values else None
            todo += [value for value in node.values if isinstance(value, ast.FormattedValue)]
            node = first if isinstance(first, ast.Constant) else ast.Pass()
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str) and (match := _PATH.match(node.value)) and "\n" not in node.value:
                yield node.lineno, node.value, _WHERE[match.lastgroup or ""]
            continue
        todo += ast.iter_child_nodes(node)


def _shell_paths(cell: Cell) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(cell.source.split("\n"), 1):
        if line.lstrip().startswith(("!", "%cd", "%run", "%load", "%env", "%store")):
            for found in _IN_SHELL.finditer(line):
                if match := _PATH.match(found[0]):
                    yield number, found[0], _WHERE[match.lastgroup or ""]


@notebook_rule("EB603", "needs-somebody", "warning")
def needs_somebody(document: Document, context: Context) -> Iterator[Hit]:
    """A cell waits for somebody: it asks for input, starts a debugger, or opens a window.

    Run by a program, such a notebook fails or hangs. A note where it is in a function, which may never be
    called. Cells tagged `skip-execution` or `raises-exception` are not reported.
    """
    own_input = any(
        _OWN_INPUT.search(cell.source) for cell in document.python_cells if "input" in cell.source
    )
    for cell in document.python_cells:
        if not _SKIPPED.isdisjoint(cell.tags):
            continue
        if "%" in cell.source:
            for match in _ASK_LINE.finditer(cell.source):
                line = cell.source.count("\n", 0, match.start()) + 1
                yield _asking(cell, line, f"`{match[0].strip()}` needs somebody at the screen")
        if not _ASKING.search(cell.source):
            continue
        later = _lines_of_functions(document, cell)
        for call in _calls(document, cell):
            name = _called(call)
            if name == ("input",) and own_input:
                continue
            what = _ASKS.get(name[-1]) if len(name) == 1 or name[-1] not in ("input", "breakpoint") else None
            what = what or (_ASKS_OF.get((name[-2], name[-1])) if len(name) > 1 else None)
            if what and not _is_left_out(document, cell, call.lineno):
                yield replace(
                    _asking(cell, call.lineno, what), severity="note" if call.lineno in later else None
                )


def _asking(cell: Cell, line: int, what: str) -> Hit:
    return Hit(
        what,
        cell.number,
        line,
        remedy="use a parameter (a cell tagged parameters) or an environment variable",
    )


def _lines_of_functions(document: Document, cell: Cell) -> set[int]:
    tree = document.tree(cell)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    found = [node for node in ast.walk(tree) if isinstance(node, functions)] if tree is not None else []
    return {line for node in found for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}


def _calls(document: Document, cell: Cell) -> Iterator[ast.Call]:
    tree = document.tree(cell)
    if tree is not None:
        yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _called(call: ast.Call) -> tuple[str, ...]:
    """The dotted name that is called, as its parts; ``("",)`` when it is something else."""
    parts: list[str] = []
    node: ast.expr = call.func
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.append(node.id)
    elif not parts:
        return ("",)
    return tuple(reversed(parts))


def _texts(call: ast.Call) -> Iterator[str]:
    for node in ast.walk(call):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _is_left_out(document: Document, cell: Cell, line: int) -> bool:
    """Whether a line of a cell is not for every machine, or the cell is not to run."""
    if not _SKIPPED.isdisjoint(cell.tags):
        return True
    if "if" not in cell.source and "except" not in cell.source:
        return False
    tree = document.tree(cell)
    return tree is not None and line in conditional_lines(tree)


def _with_magic(document: Document, cell: int, line: int) -> tuple[Edit, ...]:
    """``%pip install`` for ``!pip install`` at the beginning of a line."""
    text = document.cells[cell - 1].source.split("\n")[line - 1]
    if not text.lstrip().startswith(_SHELL_PIPS):
        return ()
    start, end = document.span_of_line(cell, line)
    match = _SHELL_PIP.search(document.data, start, end)
    return () if match is None else (Edit(match.start(), match.end(1), b"%pip"),)


RULES = (install_in_cell, path_not_portable, needs_somebody)
