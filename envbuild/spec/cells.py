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

__all__ = ["Install", "find_installs", "find_modules", "find_written_module"]

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
# Syntax trees are some hundred times larger than the code.
_PARSED_LENGTH = 200_000
_IMPORT_ERRORS = frozenset({"BaseException", "Exception", "ImportError", "ModuleNotFoundError"})

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


def find_modules(source: str) -> set[str]:
    """The dotted names a cell imports: ``a.b`` for ``import a.b`` and for ``from a import b``.

    Left out: relative imports, and imports that may fail (inside of ``try`` … ``except ImportError``).
    A cell that is not valid Python, or is very long, is searched line by line.
    """
    if "import" not in source:
        return set()
    magic = _CELL_MAGIC.match(source)
    if magic is not None:
        if magic[1] not in _PYTHON_CELLS:
            return set()
        source = source[magic.end() :]
    code = "\n".join(_python_lines(source))
    if "import" not in code:
        return set()
    if len(code) > _PARSED_LENGTH:
        return set(_search_modules(code))
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set(_search_modules(code))
    return set(_walk_modules(tree))


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


def _walk_modules(tree: ast.AST) -> Iterator[str]:
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module and not node.level:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Try) and any(map(_catches_import_error, node.handlers)):
            todo += [*node.handlers, *node.orelse, *node.finalbody]
        else:
            # Imports are statements: nothing below an expression can be one.
            statements = (ast.stmt, ast.excepthandler, ast.match_case)
            todo += [child for child in ast.iter_child_nodes(node) if isinstance(child, statements)]


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in _IMPORT_ERRORS) for kind in kinds)


def _search_modules(code: str) -> Iterator[str]:
    for line in code.split("\n"):
        if not (match := _IMPORT_LINE.match(line)):
            continue
        if match[1]:
            for part in match[1].split(","):
                name = part.split()[0] if part.split() else ""
                if name and not name.startswith("."):
                    yield name
        else:
            yield f"{match[2]}.{match[3] or '*'}"


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
