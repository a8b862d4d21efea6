"""The part of docs/verify-image.md that is generated: ``python -m envbuild.conformance.reference PAGE``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from envbuild.conformance.contract import CONTRACT
from envbuild.generated import rewrite_page

__all__ = ["contract_lines"]


def contract_lines() -> Iterator[str]:
    """What is generated, in pieces of Markdown."""
    yield "\n| test | what holds | who relies on it |\n|---|---|---|\n"
    for test in CONTRACT:
        yield f"| [`{test.id}`](#{test.id}) | {test.title} | {test.relied_on_by} |\n"
    for test in CONTRACT:
        yield f"\n### {test.id}\n\n"
        yield f"{test.purpose} *How:* {test.method} *To mend:* {test.remedy}.\n"
    yield "\n"


if __name__ == "__main__":
    rewrite_page(Path(sys.argv[1]), "envbuild.conformance.reference", contract_lines())
