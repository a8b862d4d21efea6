"""What a code cell imports and installs, found without running it.

A cell is not Python: it may have magics (``%``), shell lines (``!``) and help (``?``). Those lines are
replaced before the rest is parsed; IPython's own transformer does the same four times slower.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from envbuild.source.text import clean, quote
from envbuild.spec.pep508 import parse_requirement

__all__ = [
    "Import",
    "Install",
    "conditional_lines",
    "find_imports",
    "find_installs",
    "find_written_module",
    "parse_cell",
    "python_text",
]

# Cell magics whose body is Python that runs with the notebook's packages. The body of any other is not.
_PYTHON_CELLS = frozenset(
    {"capture", "debug", "memit", "mprun", "prun", "px", "python", "python3", "time", "timeit"}
)
_SHELL_CELLS = frozenset({"!", "bash", "script", "sh", "sx", "system"})
_CELL_MAGIC = re.compile(r"\s*%%(!|\w+)[^\n]*\n?")

_WRITTEN_MODULE = re.compile(
    r"\s*%%(?:write)?file[ \t]+(?:(?:-a|--append)[ \t]+)?[\"']?(?:[^\s\"']*/)?(\w+)\.py\b"
)

_MAGIC_LINE = re.compile(r"([ \t]*)(?:[!%]|\?|(?:pip|conda|mamba|micromamba)[ \t]+install\b)")
_HELP_LINE = re.compile(r"([ \t]*)[%\w.*]+\?{1,2}[ \t]*$")
_MAGIC_VALUE = re.compile(r"([\w, \t.\[\]]+=[ \t]*)[!%]")
_INSTALL = re.compile(r"(?<![\w-])(pip[\d.]*|conda|mamba|micromamba)[ \t]+install\b([^;&|]*)")

_IMPORT_LINE = re.compile(
    r"[ \t]*(?:import[ \t]+([\w., \t]+)|from[ \t]+(\w[\w.]*)[ \t]+import[ \t]+\(?[ \t]*(\w+)?)"
)
# Extensions are modules. Those that come with IPython are found without being installed.
_EXTENSION = re.compile(r"(?m)^[ \t]*%(?:re)?load_ext[ \t]+([A-Za-z_][\w.]*)")
_OWN_EXTENSIONS = frozenset({"autoreload", "storemagic"})
# Syntax trees are some hundred times larger than the code.
_PARSED_LENGTH = 200_000
_IMPORT_ERRORS = frozenset({"BaseException", "Exception", "ImportError", "ModuleNotFoundError"})
# In the condition of an `if`: what is imported under it is not for every machine. Colab's own package is only
# there, and many notebooks ask for it by a variable.
_CONDITIONS = frozenset({"TYPE_CHECKING", "find_spec", "modules", "platform", "system", "version_info"})
_COLAB = re.compile(r"colab|kaggle|pyodide|emscripten", re.IGNORECASE)

# Options of pip, conda and mamba whose value is the next word.
_OPTIONS_WITH_VALUE = """
    -r --requirement -c --constraint --channel -i --index-url --extra-index-url -f --find-links -t --target
    -e --editable --trusted-host --prefix --root --src --python --platform --abi --implementation
    --python-version --only-binary --no-binary --progress-bar --proxy --timeout --retries --log --cache-dir
    --upgrade-strategy -n --name -p --file
"""
_WITH_VALUE = frozenset(_OPTIONS_WITH_VALUE.split())


@dataclass(frozen=True, slots=True)
class Install:
    """One install line: its text (redacted), what it names of an index, and what of elsewhere."""

    line: int
    text: str
    requirements: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Import:
    """``a.b`` of ``import a.b`` and of ``from a import b``, and the 1-based line in the cell."""

    module: str
    line: int


def find_installs(source: str) -> list[Install]:
    """The ``%pip install`` (``!pip``, ``python -m pip``, ``%conda``, …) lines of a cell."""
    if "install" not in source:
        return []
    magic = _CELL_MAGIC.match(source)
    in_shell = magic is not None and magic[1] in _SHELL_CELLS
    if magic is not None and not in_shell and magic[1] not in _PYTHON_CELLS:
        return []
    found = []
    for number, line in _logical_lines(source):
        if not (in_shell or _MAGIC_LINE.match(line) or _MAGIC_VALUE.match(line)):
            continue
        found += [_parse_install(number, match) for match in _INSTALL.finditer(line)]
    return found


def find_imports(source: str) -> list[Import]:
    """What a cell imports when it runs.

    Left out: relative imports, imports that may fail (inside of ``try`` … ``except ImportError``), and those
    that are not for every machine (``if TYPE_CHECKING``, ``if sys.platform == …``, ``if IN_COLAB``).
    ``%load_ext`` imports, too. A cell that is not valid Python, or is very long, is searched line by line.
    """
    has_extensions = "load_ext" in source
    if not has_extensions and "import" not in source:
        return []
    code = python_text(source)
    if code is None:
        return []
    found = list(_search_extensions(source)) if has_extensions else []
    if "import" not in code:
        return found
    tree = _parse(code)
    return [*found, *(_search_imports(code) if tree is None else _walk_imports(tree))]


def parse_cell(source: str) -> ast.Module | None:
    """The syntax tree of a cell, with the cell's own line numbers.

    None when the cell is not Python (a cell magic says so, or it does not parse), or is very long.
    """
    code = python_text(source)
    return None if code is None else _parse(code)


def conditional_lines(tree: ast.Module) -> frozenset[int]:
    """The lines of ``tree`` (a cell's) that are not for every machine, as for :func:`find_imports`."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and _is_conditional(node.test):
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        elif isinstance(node, ast.Try) and any(map(_catches_import_error, node.handlers)):
            for handler in node.handlers:
                lines.update(range(handler.lineno, (handler.end_lineno or handler.lineno) + 1))
    return frozenset(lines)


def python_text(source: str) -> str | None:
    """A cell's Python, line by line: what is IPython's is replaced by something harmless.

    None when a cell magic says that it is something else.
    """
    magic = _CELL_MAGIC.match(source)
    if magic is not None:
        if magic[1] not in _PYTHON_CELLS:
            return None
        source = "\n" * magic[0].count("\n") + source[magic.end() :]
    return "\n".join(_python_lines(source))


def _parse(code: str) -> ast.Module | None:
    if len(code) > _PARSED_LENGTH:
        return None
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def find_written_module(source: str) -> str | None:
    """The name of the module that a ``%%writefile name.py`` cell makes, for the cells after it to import."""
    match = _WRITTEN_MODULE.match(source)
    return match[1] if match else None


def _logical_lines(source: str) -> Iterator[tuple[int, str]]:
    """``(number of the first line, line with its backslash continuations)``."""
    number, start, parts = 0, 0, []
    for number, line in enumerate(source.split("\n"), 1):
        start = start or number
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        yield start, "".join([*parts, line])
        start, parts = 0, []
    if parts:
        yield start, "".join(parts)


def _python_lines(source: str) -> Iterator[str]:
    """The lines of ``source``, those that are not Python replaced by something harmless."""
    continued = False
    for line in source.split("\n"):
        if continued:
            continued = line.endswith("\\")
        elif match := _MAGIC_LINE.match(line) or _HELP_LINE.match(line):
            yield match[1] + "pass"
            continued = line.endswith("\\")
        elif match := _MAGIC_VALUE.match(line):
            yield match[1] + "None"
            continued = line.endswith("\\")
        else:
            yield line


def _walk_imports(tree: ast.AST) -> Iterator[Import]:
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module and not node.level:
                yield from (Import(f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Try) and any(map(_catches_import_error, node.handlers)):
            todo += [*node.handlers, *node.orelse, *node.finalbody]
        elif isinstance(node, ast.If) and _is_conditional(node.test):
            continue
        else:
            # Imports are statements: nothing below an expression can be one.
            statements = (ast.stmt, ast.excepthandler, ast.match_case)
            todo += [child for child in ast.iter_child_nodes(node) if isinstance(child, statements)]


def _is_conditional(test: ast.expr) -> bool:
    """Whether what is under ``if test`` (or its ``else``) is not for every machine."""
    for node in ast.walk(test):
        if isinstance(node, ast.Name):
            name = node.id
        elif isinstance(node, ast.Attribute):
            name = node.attr
            if name == "name" and isinstance(node.value, ast.Name) and node.value.id == "os":
                return True
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value
        else:
            continue
        if name in _CONDITIONS or _COLAB.search(name):
            return True
    return False


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in _IMPORT_ERRORS) for kind in kinds)


def _search_extensions(source: str) -> Iterator[Import]:
    for match in _EXTENSION.finditer(source):
        if match[1] not in _OWN_EXTENSIONS:
            yield Import(match[1], source.count("\n", 0, match.start()) + 1)


def _search_imports(code: str) -> Iterator[Import]:
    for number, line in enumerate(code.split("\n"), 1):
        if not (match := _IMPORT_LINE.match(line)):
            continue
        if match[1]:
            for part in match[1].split(","):
                name = part.split()[0] if part.split() else ""
                if name and not name.startswith("."):
                    yield Import(name, number)
        else:
            yield Import(f"{match[2]}.{match[3] or '*'}", number)


def _parse_install(number: int, match: re.Match[str]) -> Install:
    text = clean(match[0])
    if not match[1].startswith("pip"):
        return Install(number, text, (), (text,))
    try:
        words = shlex.split(match[2], comments=True)
    except ValueError:  # an unbalanced quote
        words = match[2].split()
    requirements, others = [], []
    skip = False
    for word in words:
        if skip or word.startswith("-"):
            skip = not skip and word in _WITH_VALUE
        elif requirement := parse_requirement(word):
            requirements.append(requirement.text)
        else:
            others.append(quote(word))
    return Install(number, text, tuple(requirements), tuple(others))
