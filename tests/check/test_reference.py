"""docs/check.md says what the rules say."""

from __future__ import annotations

from pathlib import Path

from envbuild.check.reference import rule_lines
from envbuild.generated import with_generated

PAGE = Path(__file__).parent.parent.parent / "docs" / "check.md"


def test_the_page_is_up_to_date() -> None:
    """Otherwise: ``scripts/docs``."""
    page = PAGE.read_text("utf-8")
    assert with_generated(page, "envbuild.check.reference", rule_lines()) == page
