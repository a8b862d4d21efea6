"""Inline script metadata (PEP 723) in a notebook's cell, as juv and marimo write it.

Specification: https://packaging.python.org/en/latest/specifications/inline-script-metadata/
"""

from __future__ import annotations

from dataclasses import dataclass

import tomli

from envbuild.source.text import quote
from envbuild.spec.findings import Findings
from envbuild.spec.model import Requirement
from envbuild.spec.pep508 import parse_requirement
from envbuild.spec.python_version import is_specifier

__all__ = ["ScriptBlock", "read_script_block"]


@dataclass(frozen=True, slots=True)
class ScriptBlock:
    """What one ``# /// script`` block asks for; ``found`` is false for the absence of one."""

    requirements: tuple[Requirement, ...] = ()
    python: str | None = None
    found: bool = False


def read_script_block(code: str, notebook: str, cell: int, findings: Findings) -> ScriptBlock | None:
    """The block in a cell's ``code``, or None when there is none; mistakes go to ``findings``."""
    text = _block_text(code)
    if text is None:
        return None

    def mistake(what: str) -> None:
        findings.error(
            "bad-script-block", f"cell {cell}: the `# /// script` block {what} (PEP 723)", notebook
        )

    try:
        data = tomli.loads(text)
    except (RecursionError, ValueError):
        mistake("is not valid TOML")
        return ScriptBlock(found=True)
    python = data.get("requires-python")
    if python is not None and not is_specifier(python):
        mistake(f"has a requires-python that is not valid: {quote(str(python))}")
        python = None
    dependencies = data.get("dependencies", [])
    if not isinstance(dependencies, list):
        mistake("has dependencies that are not a list")
        dependencies = []
    requirements = []
    for dependency in dependencies:
        parsed = parse_requirement(dependency) if isinstance(dependency, str) else None
        if parsed is None:
            mistake(f"names {quote(str(dependency))}, which is not a requirement on an index")
        else:
            requirements.append(Requirement(parsed.text, notebook))
    return ScriptBlock(tuple(requirements), python, True)


def _block_text(code: str) -> str | None:
    """The TOML in the first block. It ends with the last ``# ///`` of the comment it is in."""
    lines = iter(code.splitlines())
    if not any(line.rstrip() == "# /// script" for line in lines):
        return None
    content: list[str] = []
    end = None
    for line in lines:
        if line.rstrip() == "# ///":
            end = len(content)
        if not (line.startswith("# ") or line == "#"):
            break
        content.append(line[2:])
    return None if end is None else "\n".join(content[:end]) + "\n"
