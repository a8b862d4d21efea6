"""docs/verify-image.md says what the contract tests are."""

from __future__ import annotations

from pathlib import Path

from envbuild.conformance.reference import contract_lines
from envbuild.generated import with_generated

PAGE = Path(__file__).parents[2] / "docs" / "verify-image.md"


def test_the_page_is_up_to_date() -> None:
    """Otherwise: ``scripts/docs``."""
    page = PAGE.read_text("utf-8")
    assert with_generated(page, "envbuild.conformance.reference", contract_lines()) == page
