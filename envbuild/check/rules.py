"""All rules there are, by code."""

from __future__ import annotations

from collections.abc import Iterable

from envbuild.check import code, environment, execution, files, imports, kernels, secrets
from envbuild.check.rule import Rule

__all__ = ["GROUPS", "RULES", "matching"]

GROUPS = {
    "EB1": "Environment",
    "EB2": "Imports",
    "EB3": "Kernels and Python",
    "EB4": "The file",
    "EB5": "Execution and outputs",
    "EB6": "Code",
    "EB7": "Secrets",
}

RULES: tuple[Rule, ...] = (
    *environment.RULES,
    *imports.RULES,
    *kernels.RULES,
    *files.RULES,
    *execution.RULES,
    *code.RULES,
    *secrets.RULES,
)


def matching(selectors: Iterable[str]) -> frozenset[str]:
    """The codes of the rules that ``selectors`` mean: a code, the beginning of codes, a name, or ``ALL``.

    Raises:
        ValueError: one means none; the message is the end of a sentence.

    >>> sorted(matching(["EB7", "lock-stale"]))
    ['EB102', 'EB701', 'EB702']
    """
    found: set[str] = set()
    for selector in selectors:
        codes = {
            rule.code
            for rule in RULES
            if selector.lower() == rule.name
            or rule.code.startswith(selector.upper())
            or selector.upper() == "ALL"
        }
        if not codes or len(selector) < 2:
            raise ValueError(f"{selector!r} is no rule")
        found |= codes
    return frozenset(found)
