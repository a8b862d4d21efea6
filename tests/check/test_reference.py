"""docs/check.md says what the rules say."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.check.reference import with_rules

PAGE = Path(__file__).parent.parent.parent / "docs" / "check.md"


def test_the_page_is_up_to_date() -> None:
    """Otherwise: ``scripts/docs``."""
    page = PAGE.read_text("utf-8")
    assert with_rules(page) == page


def test_a_page_without_marks() -> None:
    with pytest.raises(ValueError, match="no marks"):
        with_rules("# Nothing")
