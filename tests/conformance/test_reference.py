"""docs/verify-image.md says what the contract tests are."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.conformance.reference import with_tests

PAGE = Path(__file__).parents[2] / "docs" / "verify-image.md"


def test_the_page_is_up_to_date() -> None:
    """Otherwise: ``scripts/docs``."""
    page = PAGE.read_text("utf-8")
    assert with_tests(page) == page


def test_a_page_without_marks() -> None:
    with pytest.raises(ValueError, match="no marks"):
        with_tests("# Nothing")
