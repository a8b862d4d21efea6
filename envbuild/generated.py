"""Parts of documentation pages that are generated from what they describe."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["rewrite_page", "with_generated"]

_END = "<!-- End of what is generated -->\n"


def with_generated(page: str, module: str, lines: Iterable[str]) -> str:
    """``page`` with ``lines`` between the mark that names ``module``, which makes them, and the end's.

    Raises:
        ValueError: a mark is missing.
    """
    before, begin, rest = page.partition(f"<!-- Generated: python -m {module} ")
    command, _, rest = rest.partition("\n")
    _, mark, after = rest.partition(_END)
    if not mark:
        raise ValueError(f"the page has no marks for {module}")
    return "".join([before, begin, command, "\n", *lines, _END, after])


def rewrite_page(path: Path, module: str, lines: Iterable[str]) -> None:
    """Write the page anew. Raises as :func:`with_generated`."""
    path.write_text(with_generated(path.read_text("utf-8"), module, lines), "utf-8")
