"""The part of docs/check.md that is generated: ``python -m envbuild.check.reference PAGE``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from envbuild.check.rules import GROUPS, RULES
from envbuild.generated import rewrite_page

__all__ = ["rule_lines"]


def rule_lines() -> Iterator[str]:
    """What is generated, in pieces of Markdown."""
    for prefix, title in GROUPS.items():
        yield f"\n### {title}\n\n"
        rules = [rule for rule in RULES if rule.code.startswith(prefix)]
        yield "| | | |\n|---|---|---|\n"
        for rule in rules:
            fixable = ", `--fix`" if rule.fixable else ""
            yield f"| {rule.code} | `{rule.name}` | {rule.severity}{fixable} |\n"
        for rule in rules:
            yield f"\n**{rule.code}** {rule.documentation}\n"
    yield "\n"


if __name__ == "__main__":
    rewrite_page(Path(sys.argv[1]), "envbuild.check.reference", rule_lines())
