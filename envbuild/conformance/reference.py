"""The part of docs/verify-image.md that is generated: ``python -m envbuild.conformance.reference PAGE``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from envbuild.conformance.contract import CONTRACT

__all__ = ["with_tests"]

_BEGIN = "<!-- Generated: python -m envbuild.conformance.reference docs/verify-image.md -->\n"
_END = "<!-- End of what is generated -->\n"


def with_tests(page: str) -> str:
    """``page`` with what the contract tests are for between the two marks.

    Raises:
        ValueError: a mark is missing.
    """
    before, _, rest = page.partition(_BEGIN)
    _, mark, after = rest.partition(_END)
    if not mark:
        raise ValueError("the page has no marks")
    return "".join([before, _BEGIN, *_lines(), _END, after])


def _lines() -> Iterator[str]:
    yield "\n| test | what holds | who relies on it |\n|---|---|---|\n"
    for test in CONTRACT:
        yield f"| [`{test.id}`](#{test.id}) | {test.title} | {test.relied_on_by} |\n"
    for test in CONTRACT:
        yield f"\n### {test.id}\n\n"
        yield f"{test.purpose} *How:* {test.method} *To mend:* {test.remedy}.\n"
    yield "\n"


def main(path: Path) -> None:
    """Write the page anew."""
    path.write_text(with_tests(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
