"""The documentation of the command line is the command line's."""

from __future__ import annotations

from pathlib import Path

from envbuild.cli.reference import reference


def test_reference_is_up_to_date() -> None:
    """Regenerate with ``python -m envbuild.cli.reference > docs/cli.md``."""
    written = Path(__file__).parents[2].joinpath("docs", "cli.md").read_text("utf-8")

    assert reference() == written
