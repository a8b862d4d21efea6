"""What the author of a notebook said about checking it: the conventions of nbval and nbmake.

nbval has tags (``nbval-skip``, ...) and comments (``# NBVAL_SKIP``); a comment wins over a tag, and of
several the last one counts. nbmake has the tag ``skip-execution`` (nbclient's own) and, in the notebook's
metadata, ``execution`` with ``timeout`` (seconds for a cell) and ``allow_errors``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["CellRules", "NotebookRules", "cell_rules", "notebook_rules"]


@dataclass(frozen=True, slots=True)
class CellRules:
    """Whether a cell is executed, whether its outputs are compared (None: not said), and whether it may
    raise."""

    execute: bool = True
    compare: bool | None = None
    may_raise: bool = False


@dataclass(frozen=True, slots=True)
class NotebookRules:
    """For all cells of a notebook: seconds each may take (None: not said), and whether all may raise."""

    timeout: float | None = None
    may_raise: bool = False


_FOREVER = 1e9
_SAID: dict[str, dict[str, bool]] = {
    "nbval-ignore-output": {"compare": False},
    "pytest-validate-ignore-output": {"compare": False},
    "nbval-check-output": {"compare": True},
    "nbval-raises-exception": {"may_raise": True},
    "raises-exception": {"may_raise": True},
    "nbval-skip": {"execute": False},
    "skip-execution": {"execute": False},
}
# As nbval has it: Jupyter's own two are tags only.
_COMMENTS = {
    tag.upper().replace("-", "_"): said
    for tag, said in _SAID.items()
    if tag not in ("raises-exception", "skip-execution")
}


def cell_rules(source: str, tags: Iterable[str]) -> CellRules:
    """The rules of the cell with this ``source`` and these ``tags``.

    >>> cell_rules("# NBVAL_CHECK_OUTPUT\\n1 + 1", ["nbval-ignore-output"])
    CellRules(execute=True, compare=True, may_raise=False)
    """
    rules = CellRules()
    for tag in tags:
        rules = replace(rules, **_SAID.get(tag, {}))
    if "NBVAL" in source or "PYTEST_VALIDATE" in source:
        for line in source.splitlines():
            text = line.strip()
            if text.startswith("#"):
                rules = replace(rules, **_COMMENTS.get(text.lstrip("#").strip(), {}))
    return rules


def notebook_rules(metadata: Any) -> NotebookRules:
    """The rules in a notebook's ``metadata``.

    >>> notebook_rules({"execution": {"timeout": 60, "allow_errors": True}})
    NotebookRules(timeout=60, may_raise=True)
    """
    execution = metadata.get("execution") if isinstance(metadata, Mapping) else None
    if not isinstance(execution, Mapping):
        return NotebookRules()
    timeout = execution.get("timeout")
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not 0 < timeout < _FOREVER:
        timeout = None
    return NotebookRules(timeout, execution.get("allow_errors") is True)
