"""The part of docs/check.md that is generated: ``python -m envbuild.check.reference PAGE``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from envbuild.check.rules import GROUPS, RULES

__all__ = ["with_rules"]

_BEGIN = "<!-- Generated: python -m envbuild.check.reference docs/check.md -->\n"
_END = "<!-- End of what is generated -->\n"


def with_rules(page: str) -> str:
    """``page`` with every rule's documentation between the two marks.

    Raises:
        ValueError: a mark is missing.
    """
    before, _, rest = page.partition(_BEGIN)
    _, mark, after = rest.partition(_END)
    if not mark:
        raise ValueError("the page has no marks")
    return "".join([before, _BEGIN, *_sections(), _END, after])


def _sections() -> Iterator[str]:
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


def main(path: Path) -> None:
    """Write the page anew."""
    path.write_text(with_rules(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
